"""What real clients send besides conversations, in words of our own: small talk, jobs of user interfaces, secrets …"""

import random
import string
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

GREETINGS: Final = (
    "hi",
    "Hello!",
    "hey there",
    "Good morning",
    "Good evening :)",
    "hi again",
    "hallo",
    "Guten Morgen!",
    "bonjour",
    "Salut !",
    "hola",
    "Buenos días",
    "olá",
    "ciao",
    "привет",
    "你好",
    "こんにちは",
    "안녕하세요",
    "merhaba",
    "नमस्ते",
    "yo",
    "👋",
)
THANKS: Final = (
    "thanks!",
    "Thank you so much",
    "ok",
    "Okay, great.",
    "cool",
    "👍",
    "perfect, thanks",
    "danke!",
    "Vielen Dank",
    "merci beaucoup",
    "gracias",
    "obrigado",
    "grazie mille",
    "спасибо",
    "谢谢",
    "ありがとう",
    "감사합니다",
    "teşekkürler",
    "lol",
    "got it",
    "bye",
)
WELCOMES: Final = (
    "Hello! How can I help you today?",
    "Hi there! What can I do for you?",
    "Hallo! Wie kann ich helfen?",
)
PLEASURES: Final = ("You're welcome!", "Glad I could help!", "Gern geschehen!", "De rien !", "You are welcome. 😊")
RECAPS: Final = (
    "What do you remember about me?",
    "Remind me what I have told you so far.",
    "Was weißt du über mich?",
    "Which of my plans do you know about?",
)
FIRST_ANSWERS: Final = (
    "Let me think about that one a little longer before I commit to anything",
    "There is more than one way to look at it, and none of them is obvious",
    "I am afraid that I cannot give you a proper answer to this right now",
)
DRAFTS: Final = (
    "My cousin {name} sells paper lanterns at a stall in {place}.",
    "I broke my left ankle while I was fencing in {place} with {name}.",
    "Our cat {name} only eats trout that somebody has caught near {place}.",
    "{name} and I will open a bakery for rye bread in {place} next spring.",
)
SECOND_THOUGHT: Final = "Please tell {name} about it."
DRAFT_ANSWERS: Final = (
    "That is quite something, {name} must have many stories to tell about {place}.",
    "I hope that it turns out well for you and {name}, wherever in {place} it may be.",
)
SECRETS: Final = (
    ("The deploy token of our {name} server is ", " and nobody has changed it since spring."),
    ("For the {name} account in {place} I use OPENAI_API_KEY=", " in the shell."),
    ("Somebody in {place} mailed me password: ", " for the {name} portal, is that wise?"),
)
_NAMES: Final = ("Tove", "Anselm", "Birgit", "Cosimo", "Dagny", "Evander", "Fenna", "Gaspard", "Hedda", "Ilmari")
_PLACES: Final = ("Odense", "Brno", "Tartu", "Ghent", "Bergamo", "Cork", "Malmö", "Patras", "Zadar", "Lugano")

Fill = Callable[[str], str]


class Job(NamedTuple):
    """A request that a program makes about a conversation. *alone*: it quotes it, instead of going on from it."""

    prompt: str
    answer: str
    alone: bool


# In the form of what Open WebUI, LibreChat, LobeChat, NextChat, chat-ui, SillyTavern and LangChain send.
JOBS: Final = (
    Job(
        "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n"
        "### Guidelines:\n- The title should clearly represent the main theme of the conversation.\n"
        '### Output:\nJSON format: {{ "title": "your concise title here" }}\n'
        "### Chat History:\n<chat_history>\n{history}\n</chat_history>",
        '{{"title": "🏮 Lanterns of {place}"}}',
        alone=True,
    ),
    Job(
        "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history, along with 1-3 more "
        "specific subtopic tags.\n### Guidelines:\n- Start with high-level domains\n"
        '### Output:\nJSON format: {{ "tags": ["tag1", "tag2", "tag3"] }}\n'
        "### Chat History:\n<chat_history>\n{history}\n</chat_history>",
        '{{"tags": ["General", "Travel", "{place}"]}}',
        alone=True,
    ),
    Job(
        "### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might naturally ask next in this "
        "conversation as a **user**, based on the chat history, to help continue or deepen the discussion.\n"
        '### Output:\nJSON format: {{ "follow_ups": ["Question 1?", "Question 2?", "Question 3?"] }}\n'
        "### Chat History:\n<chat_history>\n{history}\n</chat_history>",
        '{{"follow_ups": ["What would {name} do?", "Is it far to {place}?"]}}',
        alone=True,
    ),
    Job(
        "### Task:\nAnalyze the chat history to determine the necessity of generating search queries, in the given "
        "language. By default, **prioritize generating 1-3 broad and relevant search queries** unless it is absolutely "
        "certain that no additional information is required.\n"
        '### Output:\nStrictly return in JSON format:\n{{\n  "queries": ["query1", "query2"]\n}}\n'
        "### Chat History:\n<chat_history>\n{history}\n</chat_history>",
        '{{"queries": ["{place} opening hours"]}}',
        alone=True,
    ),
    Job(
        "Provide a concise, 5-word-or-less title for the conversation, using title case conventions. Only return the "
        "title itself.\n\nConversation:\n{history}",
        "Paper Lanterns In {place}",
        alone=True,
    ),
    Job(
        "Please generate a four to five word title summarizing our conversation without any lead-in, punctuation, "
        "quotation marks, periods, symbols, bold text, or additional text. Remove enclosing quotation marks.",
        "Lanterns of {name} in {place}",
        alone=False,
    ),
    Job(
        "Given the following conversation and a follow up question, rephrase the follow up question to be a standalone "
        "question, in its original language.\n\nChat History:\n{history}\nFollow Up Input: And then?\n"
        "Standalone question:",
        "What did {name} do in {place} after that?",
        alone=True,
    ),
)
PROBES: Final = (("ping", 1), ("Hi", 1), ("test", 1), ("hello", 5))


class Dice:
    """Chance, and names that fill texts. What one *seed* has drawn it draws again."""

    def __init__(self, seed: str) -> None:
        self.random: Final = random.Random(seed)  # noqa: S311  # repeatable, not secret

    def pick(self, texts: Sequence[str]) -> str:
        """One of *texts*, filled."""
        return self.filler()(self.random.choice(texts))

    def filler(self) -> Fill:
        """Fills texts, all with the same names."""
        names = {"name": self.random.choice(_NAMES), "place": self.random.choice(_PLACES)}
        return lambda text: text.format(**names)

    def secret(self) -> str:
        """Something in the form of a key, of which nobody can say what it is made of."""
        alphabet = string.ascii_letters + string.digits
        return "sk-" + "proj-" + "".join(self.random.choices(alphabet, k=48))
