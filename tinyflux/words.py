"""The two text encoders and their tokenizers, with vocabularies of our own captions' words.

CLIP's gives one vector for the whole prompt, T5's one for each token. Nothing here is trained but
the vocabularies: how the encoders learn is in `reading`.
"""

import json
import math
from collections import Counter
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from tinyflux import captions
from tinyflux.scenes import random_scene
from tinyflux.styles import TRIGGERS

WORDS = (
    48  # tokens of a prompt that T5 reads: FLUX attends to the padding too, so never another number
)
POOLED_WORDS = 77
CLIP_ENTRIES = 1024
START, END = "<|startoftext|>", "<|endoftext|>"
PAD, T5_END, UNKNOWN = "<pad>", "</s>", "<unk>"
RARE, UNLIKELY = 20, -16.0  # words seen less often are spelt; the score of a letter


def corpus(number: int = 20_000) -> list[str]:
    rng = Random("corpus")
    texts = [captions.caption(random_scene(rng), rng).text for _ in range(number)]
    return texts + [*captions.FILLERS, *TRIGGERS.values()] * (number // 200)


def clip_tokenizer(texts: list[str]) -> CLIPTokenizer:
    """Byte pairs, with every byte present, so that no prompt is unknown."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [START, END, *letters, *(letter + "</w>" for letter in letters)]
    blank = CLIPTokenizer(vocab={entry: index for index, entry in enumerate(entries)}, merges=[])
    trainer = trainers.BpeTrainer(
        vocab_size=CLIP_ENTRIES, special_tokens=entries, end_of_word_suffix="</w>"
    )
    # Merges are learnt on the text as CLIP's own steps split it: lower case, words, bytes.
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = blank.backend_tokenizer.normalizer
    learner.pre_tokenizer = blank.backend_tokenizer.pre_tokenizer
    learner.train_from_iterator(texts, trainer)
    model = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    return CLIPTokenizer(vocab=model["vocab"], merges=merges, model_max_length=POOLED_WORDS)


def t5_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Whole words by their frequency, and single letters for all others.

    transformers' own class for T5 rebuilds its steps when it is loaded and would lose the first:
    lower case.
    """
    counts = Counter(word for text in texts for word in text.lower().replace(",", " ,").split())
    words = {f"▁{word}": counts[word] for word in counts if counts[word] >= RARE}
    total = sum(words.values())
    letters = {letter for text in texts for letter in text.lower()} | set("0123456789.,!?'-")
    pieces = [(PAD, 0.0), (T5_END, 0.0), (UNKNOWN, 0.0)]
    pieces += [(word, math.log(count / total)) for word, count in sorted(words.items())]
    pieces += [(letter, UNLIKELY) for letter in ("▁", *sorted(letters)) if letter.strip()]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {T5_END}", special_tokens=[(T5_END, 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=T5_END, unk_token=UNKNOWN,
        model_max_length=WORDS,
    )  # fmt: skip


def clip_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            projection_dim=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=POOLED_WORDS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def t5_encoder(tokenizer: PreTrainedTokenizerFast) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=192,
            d_kv=32,
            d_ff=512,
            num_layers=3,
            num_heads=6,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
        )
    )


def ids(
    tokenizer: CLIPTokenizer | PreTrainedTokenizerFast, texts: list[str], length: int
) -> Tensor:
    return tokenizer(
        texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids


def save_tokenizers(folder: Path) -> None:
    texts = corpus()
    torch.manual_seed(0)
    clip_tokenizer(texts).save_pretrained(folder / "tokenizer")
    t5_tokenizer(texts).save_pretrained(folder / "tokenizer_2")
