"""What stands in a user's message without being the user's own word: quotes, code, transcripts, roles and fiction."""

import re
from typing import Final

_FOREIGN: Final = re.compile(
    r"```.*?(?:```|\Z)"
    r"|`[^`\n]+`"
    r'|"[^"\n]{1,400}"|“[^”\n]{1,400}”|„[^“”\n]{1,400}[“”]|«[^»\n]{1,400}»|「[^」\n]{1,400}」|『[^』\n]{1,400}』'
    r"|(?<!\w)'[^'\n]{2,400}'(?!\w)"
    r"|^[ \t]*>[^\n]*$"
    r"|https?://\S+"
    r"|^[ \t]*[\[(#*<|]*(?:system|assistant|user|human|ai|bot|gpt|chatgpt|claude"
    r"|instructions?)\b[^\n:：]{0,20}[:：][^\n]*$"
    r"|<(\w+)>.*?(?:</\1>|\Z)"
    r"|<\|[^\n]*"
    r"|\b(?:says?|said|wrote|writes|states?|reads?|told|goes|means?)\b[^.:\n]{0,20}: [^\n]*",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
_MARK: Final = re.compile(r"[`\"“„«「『'>:：<]")
_SPEAKER: Final = re.compile(r"^[ \t]*\w[\w .'-]{0,24}[:：][^\n]*$", re.MULTILINE)
# So many lines that name a speaker, or a field, are a transcript or a form.
_SPEAKERS: Final = 3
# A text to be worked on follows these words and a colon or an empty line; a letter its salutation.
_PASTED: Final = re.compile(
    r"\b(?:translate|rewrite|rephrase|reword|proofread|correct|summari[sz]e|paraphrase|edit|improve|analy[sz]e|grammar"
    r"|fix|explain|review|übersetze?|korrigiere?|traduis|corrige|traduce|traduz\w*|traduci|переведи|исправь|çevir)\b"
    r"[^\n:：]{0,150}(?:[:：]|\n\n)|^[ \t]*dear [^\n]{1,60},?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
# "I" is not the user in what follows, and "always" not for good.
_PRETENCE: Final = re.compile(
    r"\b(?:act(?:ing)? (?:as|like)\b|you are (?:now|going to|an?|the|my)\b(?! (?:great|huge|big|real|life|star|genius))"
    r"|you're now\b|ass?ume (?:that )?(?:i|my|you)\b|you will (?:be|act|play)\b|pretend\b|role-?play|jailbreak"
    r"|text adventure|game master|dungeon master|the player|npcs?\b|system prompt|developer mode"
    r"|(?:ignore|disregard|forget) (?:all |any |the |your |my |everything )*(?:previous|prior|above|earlier|former)\b"
    r"|(?:write|continue|create|tell|generate|compose|draft|make|develop)\b[^.?!\n]{0,60}\b(?:story|poem|song"
    r"|lyrics|script"
    r"|screenplay|dialogue|monologue|fanfic\w*|novel|essay|speech|characters?|cover letter|testimonial|prompts?)\b"
    r"|agis comme|tu es (?:un|une|maintenant)\b|du bist (?:ein|eine|jetzt|nun)\b|actúa como|eres (?:un|una|ahora)\b"
    r"|aja como|você é (?:um|uma|agora)\b|sei (?:un|una|ora)\b|agisci come|ты (?:теперь\b|[—-])|представь, что"
    r"|sen (?:bir|artık)\b|ignoriere|ignore (?:les|las|tous)|ignora (?:las|le|tutte|todas)|игнорируй)"
    r"|あなたは|のふりを|以前の指示|前の指示|你是|你现在是|扮演|忽略|당신은|너는 이제|이전 지시|أنت الآن|تظاهر"
    r"|تجاهل|आप एक|तुम एक|पिछले निर्देश",
    re.IGNORECASE,
)


def pretends(text: str) -> bool:
    """Whether *text* gives somebody a role, or is about fiction or prompts, so that nothing in it counts."""
    return _PRETENCE.search(text) is not None


def mask(text: str) -> str:
    """*text* with what is not the user's own replaced by as many NUL characters, so that places stay the same."""
    if not _MARK.search(text) and "\n" not in text:
        return text
    masked = _FOREIGN.sub(_blank, text)
    if len(_SPEAKER.findall(masked)) >= _SPEAKERS:
        masked = _SPEAKER.sub(_blank, masked)
    pasted = _PASTED.search(masked)
    return masked if pasted is None else masked[: pasted.end()] + "\x00" * (len(masked) - pasted.end())


def _blank(match: re.Match[str]) -> str:
    return "\x00" * len(match[0])
