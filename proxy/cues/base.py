"""The shape of a language's cues, and what each rule means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

StatementKind = Literal["instruction", "preference", "fact"]

# What stands before the topic of a statement that takes another back.
WITHDRAWN: Final = "!"

# Rule → its kind and topic. A topic that ends in a colon is completed by the word that follows the cue; one that is
# empty is looked for among the subjects below.
RULES: Final[Mapping[str, tuple[StatementKind, str]]] = {
    "withdraw": ("instruction", WITHDRAWN),
    "call": ("instruction", "called"),
    "answer": ("instruction", ""),
    "instruct": ("instruction", ""),
    "opening": ("instruction", ""),  # at the beginning of a sentence only
    "favourite": ("preference", "favourite:"),
    "prefer": ("preference", ""),
    "name": ("fact", "name"),
    "pronouns": ("fact", "pronouns"),
    "home": ("fact", "home"),
    "origin": ("fact", "origin"),
    "job": ("fact", "job"),
    "age": ("fact", "age"),
    "birthday": ("fact", "birthday"),
    "marital": ("fact", "marital"),
    "diet": ("fact", "diet"),
    "allergy": ("fact", "allergy:"),
    "fact": ("fact", ""),
    "remember": ("fact", ""),  # anything that the user asks to be remembered, when no other rule knows it
}

# Subjects of instructions and preferences of which only the newest can hold, with the words that tell them.
SUBJECTS: Final[Mapping[str, str]] = {
    "units": (
        r"\bmetric|\bimperial\b|celsius|fahrenheit|métri|metrisch|метрич|имперск|metrik|メートル法|公制|英制|미터법"
        r"|المتري|मीट्रिक"
    ),
    "emoji": r"emoji|эмодзи|смайл|絵文字|表情符|이모지|إيموجي|इमोजी",
    "spelling": r"\b(?:british|american|uk|us) (?:english|spelling)",
    "length": (
        r"\b(?:concise|brief|short|succinct|detailed|lengthy|long) (?:answers?|repl\w+|responses?|explanations?)"
        r"|\b(?:be|stay|keep it) (?:\w+ )?(?:concise|brief|short)\b|\b(?:concisely|briefly|in depth|to the point)\b"
        r"|\b(?:kurz|knapp|ausführlich)|\b(?:brèves?|courte?s?|concis|détaillé)|\b(?:breve|cort[oa]|concis|curt)"
        r"|detallad|detalhad|dettagliat|кратк|коротк|подробн|\bkısa|簡潔|短く|詳しく|简短|简洁|详细|짧게|간결|자세히"
        r"|باختصار|مختصر|संक्षिप्त|संक्षेप"
    ),
    "language": (
        r"\b(?:in|auf|en|em|на|по)[ -](?:english|german|french|spanish|portuguese|italian|russian|japanese|chinese"
        r"|korean|arabic|hindi|turkish|dutch|polish|swedish|deutsch|englisch|französisch|spanisch|français|anglais"
        r"|allemand|espagnol|español|inglés|francés|português|inglês|francês|italiano|inglese|francese|tedesco"
        r"|русском|английском|русски|английски)\b|\b(?:türkçe|ingilizce)\b|日本語で|英語で|用中文|用英文|用英语"
        r"|한국어로|영어로|بالعربية|بالإنجليزية|(?:हिन्दी|हिंदी|अंग्रेज़ी|अंग्रेजी) में"
    ),
    "format": r"\bbullet ?points?|\bmarkdown|\bstichpunkt|\blistes? à puces|箇条書き",
    "tone": r"\b(?:formal|informal|casual)(?:ly)?\b",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cues:
    """One language's cues, all of them regular expressions but *triggers*.

    Attributes:
        triggers: words, or parts of them where words are not spaced, without one of which a text states nothing.
        script: the characters of a language written in its own; its triggers are looked for inside words, too.
        lead: what may stand before a cue and says nothing.
        keep: what in a lead asks to remember what follows it.
        joints: words that begin a clause of its own after a comma.
        doubts: beginnings of sentences that only suppose or ask.
        rules: by name of :data:`RULES`, what a clause begins with.
        mentions: what tells a name in the midst of any sentence; its last two words, whose and which, are the topic.
        anywhere: verbs come last, so that a rule may match in the midst of a clause.
    """

    triggers: str
    rules: Mapping[str, str]
    script: str = ""
    lead: str = r"(?!)"
    keep: str = r"(?!)"
    joints: str = r"(?!)"
    doubts: str = r"(?!)"
    mentions: str = ""
    anywhere: bool = False
