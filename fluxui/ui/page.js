// The few lines that must run in the browser: keys, copying, the compare slider, and the place
// in the grid. Everything else is Gradio's, or Python's.
(() => {
  const shown = el => el && el.offsetParent !== null;
  const first = selector => [...document.querySelectorAll(selector)].find(shown);
  const typing = el => el && (el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName));

  addEventListener('keydown', e => {
    if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) {
      const go = document.querySelector('#go');
      if (shown(go)) { e.preventDefault(); go.click(); }
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target)) return;
    const act = {Escape: 'back', ArrowLeft: 'prev', ArrowRight: 'next'}[e.key];
    const target = act ? first(`[data-act="${act}"]:not(:disabled)`) : null;
    if (target) { e.preventDefault(); target.click(); }
    if (e.key === '/') {
      const field = first('#g-search textarea, #g-search input, #l-search textarea, #l-search input, #prompt textarea');
      if (field) { e.preventDefault(); field.focus(); }
    }
  });

  // Clicks of one line are sent one after the other, each when the one before was answered: Gradio
  // drops what comes while an answer is on its way. A tick tells all that is ticked, so the newest is
  // enough; the same click twice at once is a double click, unless it walks. An answer that never
  // comes holds nobody up for longer than `patience`.
  const lines = {}, patience = 10000, walks = ['prev', 'next', 'newer', 'older'];
  const next = line => {
    clearTimeout(line.timer);
    line.sent = line.waiting.shift();
    if (!line.sent) return;
    line.timer = setTimeout(() => next(line), patience);
    line.sent.send();
  };
  window.fxSend = (name, told, send) => {
    const line = lines[name] ||= {waiting: []};
    const click = {send, act: told.act, words: JSON.stringify(told)};
    if (click.act === 'tick' && line.waiting.at(-1)?.act === 'tick') line.waiting.pop();
    const before = line.waiting.at(-1) || line.sent;
    if (before?.words === click.words && !walks.includes(click.act)) return;
    line.waiting.push(click);
    if (!line.sent) next(line);
  };
  window.fxAnswered = name => { if (lines[name]) next(lines[name]); };

  const copied = async text => {
    if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
    const field = Object.assign(document.createElement('textarea'), {value: text});
    document.body.append(field);
    field.select();
    document.execCommand('copy');
    field.remove();
  };
  addEventListener('click', e => {
    const button = e.target.closest('[data-copy]');
    if (button) {
      const text = button.dataset.copy;
      const words = button.textContent;
      copied(text.startsWith('?') ? new URL(text, location.href).href : text).then(() => {
        button.textContent = button.dataset.done;
        setTimeout(() => { button.textContent = words; }, 1600);
      });
    }
    // Hugging Face does not show itself in a frame; without one this tab will do.
    const own = e.target.closest('[data-own-tab]');
    if (own && self === top) own.target = '_self';
    const press = e.target.closest('[data-press]');
    if (press) document.querySelector(press.dataset.press)?.click();
    if (e.target.closest('[data-act="open"]')) window.fxY = scrollY;
    // A link's ?job= is over once something new was asked for: a reload should find that.
    if (e.target.closest('#go, [data-act=vary], [data-act=again], [data-act=compare]')) {
      history.replaceState(null, '', location.pathname);
    }
    if (e.target.closest('#go') && innerWidth <= 760) {
      setTimeout(() => document.querySelector('#status').scrollIntoView({behavior: 'smooth'}), 300);
    }
  }, true);

  // A picture dropped anywhere gives its settings back; fields that take files keep theirs.
  const dropped = e => {
    const files = e.dataTransfer?.files, items = [...(e.dataTransfer?.items || [])];
    const own = e.target.closest?.('[id^=l-], input[type=file]');
    if (own || items.length !== 1 || items[0].kind !== 'file') return null;
    return {file: files?.[0]};
  };
  addEventListener('dragover', e => { if (dropped(e)) e.preventDefault(); });
  addEventListener('drop', e => {
    const drop = dropped(e);
    const field = document.querySelector('#restore input[type=file]');
    if (!drop || !field) return;
    e.preventDefault();
    field.files = e.dataTransfer.files;
    field.dispatchEvent(new Event('change', {bubbles: true}));
  });

  // Zoom: the picture follows the pointer; the button and a click do the same.
  const zoom = frame => {
    const on = frame.classList.toggle('fx-zoomed');
    document.querySelector('[data-zoom]')?.setAttribute('aria-pressed', on);
  };
  addEventListener('click', e => {
    const button = e.target.closest('[data-zoom]');
    const frame = button ? document.querySelector('.fx-detail .fx-frame')
      : e.target.closest('.fx-detail .fx-frame:not(.fx-compare)');
    if (frame) zoom(frame);
  });
  addEventListener('pointermove', e => {
    const frame = e.target.closest?.('.fx-zoomed');
    if (!frame) return;
    const box = frame.getBoundingClientRect();
    frame.style.setProperty('--zx', (e.clientX - box.left) / box.width * 100 + '%');
    frame.style.setProperty('--zy', (e.clientY - box.top) / box.height * 100 + '%');
  });

  addEventListener('input', e => {
    const frame = e.target.closest('.fx-compare');
    if (frame) frame.style.setProperty('--x', e.target.value + '%');
  });
})();
