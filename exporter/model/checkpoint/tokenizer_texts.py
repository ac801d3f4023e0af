"""Texts on which two readings of a tokenizer are compared: what normalizers, splitters and vocabularies differ in.

Short but for the overlong words: a tokenizer of any model takes them all in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable

_SENTENCES = (
    "hello world", "Hello, WORLD!", "The quick brown fox jumps over the lazy dog.", "a", "I", "don't stop",
    "rock'n'roll", "Grüße aus Köln", "naïve café déjà-vu", "Straße STRASSE ẞ", "Ångström œuvre Æsir",
    "İstanbul ıssız", "Łódź żółć", "Příliš žluťoučký kůň", "Ünnepi árvíztűrő", "Ceea ce știm", "Bạn có khoẻ không?",
    "Þetta reddast", "señor ¿qué? ¡olé!", "Привет мир", "Ёлка и ёж", "Їжак під ґанком", "Здраво свете",
    "Γειά σου Κόσμε", "ΟΔΥΣΣΕΥΣ", "Բարեւ աշխարհ", "გამარჯობა", "שלום עולם", "שָׁלוֹם", "مرحبا بالعالم",
    "العَرَبِيَّة", "سلام دنیا", "ہیلو دنیا", "नमस्ते दुनिया", "ক্ষমতা বাংলা", "ਸਤ ਸ੍ਰੀ ਅਕਾਲ", "வணக்கம் உலகம்",
    "తెలుగు భాష", "ಕನ್ನಡ", "മലയാളം", "සිංහල", "สวัสดีชาวโลก", "ສະບາຍດີ", "မြန်မာစာ", "ភាសាខ្មែរ", "བོད་སྐད།",
    "日本語のテキスト", "ひらがな カタカナ ｶﾀｶﾅ", "東京タワー", "你好，世界！", "繁體中文", "안녕하세요 세계", "각",
    "ሰላም ልዑል", "ᏣᎳᎩ", "ᠮᠣᠩᠭᠣᠯ", "mixed 中文 and English와 한국어", "Ⅷ ﬁne ﬀ ﬃ", "ｆｕｌｌ ｗｉｄｔｈ １２３",
    "x² + y₃ = ½", "№ ℡ ™ ℃ Å", "𝒜𝓁𝑔𝑒𝒷𝓇𝒶 𝟙𝟚", "𠜎𠜱𡃁",
)  # fmt: skip
_NUMBERS = (
    "0", "7", "42", "1234 apples", "1,234,567.89", "3.14159", "-273.15", "1e-10", "0x1F", "2024-02-29T23:59:60Z",
    "٣٤٥", "१२३", "+49 (0)221 471-1", "192.168.0.1", "1/2", "50%", "$9.99", "€5", "v2.0.1-rc3",
    "12345678901234567890",
)  # fmt: skip
_CODE = (
    "def f(x):\n    return x**2", "if (a && b) || !c { d += 1; }", "SELECT * FROM t WHERE a <> 'b';",
    "<div class=\"x\">a</div>", "https://example.org/a?b=c&d=%20#e", "me@example.org", "C:\\a\\b.txt",
    "#hashtag @user", "snake_case camelCase kebab-case", "`code` **bold** _it_", "...", "?!", "--", "—–‐",
    "“quoted” ‘so’ «là»", "(a)[b]{c}", "a/b\\c|d", "~^`", "&amp; &lt;", "▁", "▁▁a ▁b", "##ing ##", "Ġa Ċ", "a▁b",
    "</w>", "@@",
)  # fmt: skip
_SPECIAL = (
    "[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]", "<s>", "</s>", "<pad>", "<unk>", "<mask>", "<bos>", "<eos>",
    "<|endoftext|>", "<|im_start|>user", "<|im_end|>", "<cls>", "<sep>", "<extra_id_0>", "<0x0A>", "<image>",
    "[INST] a [/INST]", "<CLS>", "[cls]",
)  # fmt: skip
_EMOJI = (
    "🙂", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "❤", "1️⃣", "🧑🏿‍🚀", "a🙂b", "🙂🙂🙂", "☃︎", "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
)  # fmt: skip
_MARKS = (
    "e\u0301", "\u00e9", "cafe\u0301", "a\u0308\u0323", "o\u0323\u0308", "\u0301",
    "Z\u0351\u036b\u0343\u036a\u0302a\u030c\u0359l\u0316g\u0321o\u0321", "n\u0303", "\u1100\u1161\u11a8",
    "क\u094dष", "\u0e33", "\u212b \u00c5 A\u030a", "\u00df\u0307", "I\u0307", "\u03c2\u03c3",
)  # fmt: skip
_SPACES = (
    "", " ", "  ", "   ", "\t", "\n", "\r\n", " a", "a ", "  a  ", "a b", "a  b", "a   b", "a\tb",
    "tabs\tand  spaces", "a\nb", "a\n\nb", "a\r\nb", "a\x0bb", "a\x0cb", "a\x85b", "a\xa0b", "a\u1680b", "a\u2002b",
    "a\u2003 b", "a\u2009b", "a\u202fb", "a\u205fb", "a\u3000b", "\u3000a", "a\u2028b", "a\u2029b", "\n a", "a \n",
)  # fmt: skip
_CONTROLS = (
    "a\0b", "\0", "a\x01b", "a\x07b", "a\x08b", "a\x1bb", "a\x7fb", "a\x9fb", "a\u00adb", "a\u200bb", "a\u200cb",
    "a\u200db", "a\u200eb", "a\u202ab\u202c", "a\u2060b", "a\ufeffb", "\ufeffa", "a\ufffdb", "\ufffd", "a\ufff9b",
    "a\ue000b", "\U000f0000", "\U0010ffff", "a\ufe0fb", "a\u034fb", "\ufdd0", "\u061ca", "a\x1cb",
)  # fmt: skip
_OVERLONG = (
    "a" * 99, "a" * 100, "a" * 101, "b" * 300, "aB" * 150, "é" * 120, "中" * 130, "🙂" * 60, "1" * 250, "." * 200,
    "-=" * 120, " " * 64 + "a", "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "word " * 80,
)  # fmt: skip

TEXTS: tuple[str, ...] = (
    *_SENTENCES, *_NUMBERS, *_CODE, *_SPECIAL, *_EMOJI, *_MARKS, *_SPACES, *_CONTROLS, *_OVERLONG,
)  # fmt: skip
"""Each once; every one has a UTF-8 form."""


def texts_for(tokens: Iterable[str]) -> tuple[str, ...]:
    """TEXTS, and each token of a tokenizer as a user might write it: alone, inside a word, between spaces.

    Args:
        tokens: what the tokenizers at hand match as a whole; some have thousands, of which a sample stands for all.
    """
    listed = sorted(set(tokens))
    sample = listed if len(listed) <= _MOST_TOKENS else listed[:: -(-len(listed) // _MOST_TOKENS)]
    more = (form for token in sample for form in (token, f"a{token}b", f"an {token} here", token.upper()))
    return tuple(dict.fromkeys((*TEXTS, *more)))


_MOST_TOKENS = 25
