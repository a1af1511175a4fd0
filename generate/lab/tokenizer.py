"""One token a character, so that a text has the same tokens in one piece or in several."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from generate.lab.problems import DELIMITER, NEXT_ATTEMPT

PAD, EOS = "<pad>", "<eos>"
SYMBOLS = (PAD, EOS, NEXT_ATTEMPT, DELIMITER, *"0123456789+-*=")
DELIMITER_ID = SYMBOLS.index(DELIMITER)
DIGIT_IDS = tuple(SYMBOLS.index(digit) for digit in "0123456789")


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The lab's tokenizer: digits, signs, newline, and the specials `<pad>`, `<eos>`, `<next>`."""
    tokenizer = Tokenizer(models.WordLevel({symbol: index for index, symbol in enumerate(SYMBOLS)}, unk_token=PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        additional_special_tokens=[NEXT_ATTEMPT],
        clean_up_tokenization_spaces=False,
    )
