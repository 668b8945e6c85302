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

  addEventListener('input', e => {
    const frame = e.target.closest('.fx-compare');
    if (frame) frame.style.setProperty('--x', e.target.value + '%');
  });
})();
