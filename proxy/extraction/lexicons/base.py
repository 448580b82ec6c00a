"""What the groups of a lexicon mean.

A lexicon is text: a line for each group, its name, a colon and words without accents, in lower case. ``_`` joins the
words of a phrase, ``*`` stands for any ending. Words in one of the :data:`CONCEPTS` may stand for each other; those of
the other groups say nothing by themselves, but how to understand the rest.

user, self, my, me     the user; the speaker as a subject, as an owner, and where it may be an object only
you, others, third     the assistant; somebody else; forms of verbs that only somebody else has
it                     words that point at something said before
be, have, as           what links the subject with what it is, or has
no                     denies, or says that something has ended
modal, past, if        wished, planned or uncertain; over; supposed
says, joint, det       what reports speech, begins a clause, begins a noun
and, rel               what joins, and what goes on about whom was named last
asks                   begins a question
aspect                 says of what follows when it began or whether it goes on
order                  where the order of what is compared decides
glue                   adverbs and the like
numbers                one to twelve, in this order
"""

from typing import Final

_RELATIONS: Final = """
    mother father parent brother sister sibling son daughter child wife husband partner ex fiance friend colleague
    boss neighbour grandmother grandfather aunt uncle cousin niece nephew roommate dog cat pet family
"""
_PREDICATES: Final = "live work like dislike prefer name age favourite answer allergy eat speak"
_OTHERS: Final = "home job birthday married study"
RELATIONS: Final = frozenset(_RELATIONS.split())
# Verbs and the like: what they are said of decides.
PREDICATES: Final = frozenset(_PREDICATES.split())
CONCEPTS: Final = RELATIONS | PREDICATES | frozenset(_OTHERS.split())
# In these languages the verb follows what it is said of.
VERB_LAST: Final = frozenset({"tr", "hi", "ja", "ko"})
