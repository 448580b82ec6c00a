"""What nobody has told a user's chatbot about: greetings, and questions out of other people's lives.

None of these may bring much of a user's memories into a request. The questions are invented and name things, places
and people, as questions about a life do; some words of them are bound to occur in any life.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.evaluation.asking import Asker
from proxy.evaluation.statistics import Interval, mean_interval

# More than so many tokens is not a stray line any more.
MUCH: Final = 100
ASKED: Final = 20
# Of a whole other data set: each user meets a few, and all users together many.
ASKED_OF_OTHERS: Final = 3

GREETINGS: Final = (
    "hi",
    "Hello!",
    "hey there",
    "Good morning",
    "good evening :)",
    "Thanks!",
    "thank you so much",
    "ok",
    "Okay, great.",
    "cool",
    "yes",
    "No, thanks.",
    "👍",
    "bye",
    "See you later!",
    "How are you?",
    "what's up?",
    "lol",
    "bonjour",
    "¡Hola!",
    "Danke schön",
    "你好",
    "спасибо",
    "こんにちは",
)

QUESTIONS: Final = (
    "What did Oluwaseun say about the pilot boat's gearbox?",
    "Which valve did the plumber in Trondheim replace?",
    "How many falcons did my uncle Bartholomew keep in Samarkand?",
    "What is the name of Ingrid's glassblowing teacher?",
    "When does the ferry from Korčula to Lastovo leave?",
    "What colour did we paint the lighthouse door?",
    "Who lent me the theodolite for the survey?",
    "Which violin strings does Professor Achterberg recommend?",
    "How deep is the well behind the mill in Gorska?",
    "What did the notary charge for the vineyard's deed?",
    "Which of Zsófia's goats won the prize at the fair?",
    "What was the serial number of the stolen accordion?",
    "How long did the monsoon keep us in Cherrapunji?",
    "Which regiment did great-grandfather Leopold serve in?",
    "What does Hyacinth feed her axolotls?",
    "When is Father Anselm's jubilee?",
    "Which ballast did the divers of the Marigold use?",
    "How did Kwabena fix the kiln's thermocouple?",
    "What was wrong with the sluice gate at Oosterhaven?",
    "Who plays the bassoon in Milorad's quintet?",
    "Which enzyme did the Reykjavik lab sequence for me?",
    "How much saffron does Shirin put into the tahdig?",
    "What did the dowser find under the chapel?",
    "Which page of the logbook mentions the iceberg?",
    "When was the tram depot at Lindenau closed?",
    "What grade did Thandiwe get for counterpoint?",
    "How heavy was the meteorite that Osric sold?",
    "Which dialect does my mother-in-law from Bukovina speak?",
    "What did the beekeeper in Arles say about varroa?",
    "Who translated the Georgian hymn for the choir?",
    "Which hangar is the glider parked in?",
    "How many stitches did Rasmus get after the regatta?",
    "What lens did I grind for the Dobsonian?",
    "Which stable did Clementine's mare come from?",
    "When does the permit for the quarry expire?",
    "What did Yevgenia engrave on the samovar?",
    "Which fork of the Orinoco did we paddle up?",
    "How tall was the totem pole outside the consulate?",
    "What was the verdict in the lawsuit over the weir?",
    "Who repaired the church organ's bellows in Maribor?",
    "Which bishop consecrated the crypt at Wexcombe?",
    "How did the puppet theatre in Plovdiv end its season?",
    "What ration did the sled dogs get at the depot?",
    "Which clause of the charter did the harbour master quote?",
    "When did Ezekiel's parole hearing take place?",
    "What resin did the luthier mix for the varnish?",
    "Which island was Captain Dieudonné born on?",
    "How many crates of bergamot were spoiled in Reggio?",
    "What does the inscription over Aurelia's tomb say?",
    "Who won the curling match against Saskatoon?",
    "Which fresco did the restorer uncover in the refectory?",
    "What was the tonnage of the barge that sank at Dordrecht?",
    "When will the observatory at Paranal send the spectra?",
    "How is Benedikta's fencing master called?",
    "Which trench did the archaeologists backfill first?",
    "What did the falconer forget at the toll bridge?",
    "How much did Ignatius bid for the Meissen tureen?",
    "Which locomotive pulled the funeral train to Vyborg?",
    "What herb does the healer in Oaxaca burn?",
    "Who forged the hinges for the abbey's gate?",
)


@dataclass(frozen=True, slots=True)
class Relevance:
    """Shares of (user, text) pairs: strange questions that pull in more than 100 tokens, greetings anything at all.

    *others* are questions of another data set; None where none is given.
    """

    questions: Interval
    others: Interval | None
    greetings: Interval


@dataclass(slots=True)
class Strangers:
    """Asks every user the same greetings, and some of the strange questions, drawn anew for each by a fixed seed."""

    others: Sequence[str] = ()
    _random: random.Random = field(default_factory=lambda: random.Random(4))  # noqa: S311  # repeatable, not secret
    _questions: list[float] = field(default_factory=list)
    _others: list[float] = field(default_factory=list)
    _greetings: list[float] = field(default_factory=list)

    def visit(self, asker: Asker) -> None:
        """Ask one user, about whom none of it is."""
        self._questions += [_pulls_in(asker, text, MUCH) for text in self._random.sample(QUESTIONS, ASKED)]
        drawn = self._random.sample(list(self.others), min(ASKED_OF_OTHERS, len(self.others)))
        self._others += [_pulls_in(asker, text, MUCH) for text in drawn]
        self._greetings += [_pulls_in(asker, text, 0) for text in GREETINGS]

    def report(self) -> Relevance:
        """The shares, once a user has been visited."""
        others = mean_interval(self._others) if self._others else None
        return Relevance(mean_interval(self._questions), others, mean_interval(self._greetings))


def _pulls_in(asker: Asker, text: str, tokens: int) -> float:
    """1 if *text* brings in more than so many tokens, else 0."""
    block = asker.find(asker.make_query(text))
    return float(block is not None and block.tokens > tokens)
