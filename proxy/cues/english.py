"""English cues. What a cue must not be followed by is as important as the cue: "I like that" says nothing for good."""

from typing import Final

from proxy.cues.base import Cues

# What an assistant can be told to do. "Always wondered …" and "never mind" are none of it.
_DO: Final = (
    r"(?:answer|respond|reply|use|include|format|give(?! up| in\b)|write|show|provide|explain|cite|mention|add"
    r"|start|end|begin|call"
    r"|address|speak|talk|translate|keep|tell|ask|remind(?! me of)|assume|convert|avoid|list|suggest"
    r"|be (?:\w+ )?(?:concise|brief|honest"
    r"|direct|polite|formal|informal|casual|precise|specific|critical|careful|blunt|short)|recommend|consider"
    r"|remember|quote|round|state|present|structure|highlight|summari[sz]e|limit|stick|prioriti[sz]e|offer|describe"
    r"|label|mark|wrap|send|leave out|refer|spell|double[- ]check|say|make sure|apologi[sz]e)\b"
)
_ASK: Final = (
    r"(?:(?:i(?:'d| would) (?:like|prefer|love|appreciate it)|i (?:want|need|expect)) (?:if )?you (?:to )?"
    r"|(?:could|would|can|will) you (?:please )?|you (?:should|must|need to) |make sure (?:to |you )?)?"
)
_LATER: Final = r"(?:from now on(?:wards)?|going forward|from here on(?: out)?|henceforth|from today on)"
# Points at something in the conversation, which a later one does not have.
_DEICTIC: Final = (
    r"(?!(?:it|that|this|these|those|your?|yours|the|what|how|where|when|them|him|her|both|all|option|number|either"
    r"|neither|one|idea|its|their|his|our|some|something|any|anything|if|an? more|to (?:see|know|hear|get|add|share"
    r"|thank|ask|point|mention|give|look|think)|not to|to$|and|or|but|so|most|using the|\d)\b)"
    r"(?!(?:[\w-]+ ){1,3}(?:it|them|him|her|this|these|those|then)\b)"
)
_ABOUT: Final = (
    r"(?:really|absolutely|also|personally|usually|generally|typically|always|just|definitely|tend to|much) "
)
_AM: Final = r"i(?:'m| am|m) (?:also |actually |currently |a bit |an? )?"
_NOW: Final = r"(?:also |actually |currently |now |still )"
_CAPITAL: Final = r"(?-i:[A-Z])"
_DIET: Final = (
    r"(?:strict |lifelong |mostly |life-long |new )*(?:vegetarian|vegan|pescatarian|pescetarian|flexitarian|omnivore"
    r"|gluten[- ]free|dairy[- ]free|lactose[- ]intolerant|gluten[- ]intolerant|keto|halal|kosher|c(?:o?)eliac)\b"
)
_PROFESSION: Final = (
    r"(?:[\w-]+ ){0,3}?(?:engineer|developer|programmer|teacher|student|nurse|doctor|lawyer|architect|designer|writer"
    r"|author|journalist|scientist|researcher|professor|lecturer|accountant|analyst|consultant|manager|chef|artist"
    r"|musician|photographer|carpenter|electrician|plumber|mechanic|pilot|farmer|dentist|pharmacist|therapist"
    r"|psychologist|physicist|biologist|chemist|librarian|paralegal|realtor|translator|firefighter|paramedic|veteran"
    r"|freelancer|entrepreneur|technician|officer|economist|statistician|surgeon|barista|cashier|editor|tutor)\b"
)
_KIN: Final = (
    r"(?:wife|husband|partner|girlfriend|boyfriend|fiancée?|son|daughter|mother|father|mom|mum|dad|brother|sister"
    r"|grandmother|grandfather|grandma|grandpa|niece|nephew|twins?)"
)
_PET: Final = r"(?:dog|cat|puppy|kitten|parrot|rabbit|hamster|horse|pet|[a-z]+ (?:retriever|terrier|shepherd|collie))"
# "As a lawyer, write …" gives a role.
_MYSELF: Final = r"(?=[^,.]{0,40}, (?:i|i'm|i've|my|what|how|where|which|is|are|do|can i|should i)\b)"
_COUNT: Final = r"(?:an?|one|two|three|four|five|\d) (?:[\w-]+ ){0,2}?"
_ILL: Final = (
    r"(?:asthma|diabetes|type [12] diabetes|arthritis|epilepsy|migraines|hypertension|high blood pressure|adhd|autism"
    r"|dyslexia|depression|anxiety|insomnia|celiac disease|coeliac disease|crohn's|ibs|a heart condition|tinnitus)"
)
_TOLD: Final = r"(?:ask|say|mention|send|request|write|tell|share|give|talk|paste|type|post|need)"

ENGLISH: Final = Cues(
    triggers="""
        always never ever forward henceforth future remember forget whenever everytime answer respond reply speak call
        prefer rather like love hate dislike adore enjoy favorite favourite fan avoid name name's live living reside
        moved relocated based grew hometown native allergic allergy intolerant vegetarian vegan pescatarian
        pescetarian flexitarian keto halal kosher celiac coeliac diabetic eat drink work job retired unemployed
        self-employed freelance turned birthday born married single divorced engaged widowed pregnant wife husband
        partner girlfriend boyfriend son daughter mother father mom mum dad brother sister kids children siblings
        brothers sisters sons daughters dog cat dogs cats puppy kitten parrot rabbit hamster horse pet retriever
        terrier speaker learning own drive stand asthma diabetes diagnosed suffer adhd dyslexic dyslexia arthritis
        epilepsy deaf blind left-handed wheelchair anymore more longer stop use fluent bilingual engineer developer
        programmer teacher student nurse doctor lawyer architect designer writer author journalist scientist
        researcher professor lecturer accountant analyst consultant manager chef artist musician photographer
        translator chemist diet metric imperial celsius units language pronouns timezone units: language: pronouns:
        timezone: allergies: unit hi hello hey from originally old ask say mention request smoke
    """,
    lead=(
        r"(?:(?:and|but|so|because|since|also|plus|please|btw|by the way|oh|ok(?:ay)?|well|hi|hello|hey|hi there|thanks"
        r"|thank you|actually|yes|no(?=[,.!])|yeah|sure|great|cool|anyway|however|although|though|given(?: that)?|while"
        r"|considering(?: that)?|fyi|just so you know|so you know|for (?:future )?reference|for the record"
        r"|(?:please )?(?:keep|bear) in mind(?: that)?|(?:please )?note(?: that)?"
        r"|(?:please )?remember(?: that)?(?= i\b| i'm| my"
        r"|,? always|,? never|:)|(?:please )?(?:don't|do not) forget(?: that)?(?= i\b| i'm| my)|as you (?:may )?know"
        r"|as i (?:said|mentioned)|like i said|to be honest|personally|honestly|unfortunately|one more thing|ps|p\.s\."
        r"|in general|generally|as(?= i\b| i'm| my)|just|[-*•–]|\d+[.)])(?:[,:!.]* +|, *))+"
    ),
    keep=r"\b(?:remember|forget)(?: that)?+ (?!i (?:told|said|asked|mentioned|will|was|had)\b|i'll\b)",
    joints=(
        r"thanks|thank|but|so|can|could|would|will|what|how|which|where|why|who|do|does|is|are|any|please|i"
        r"|i'm|i've|i'd|i'll|my"
        r"|we|because|since|as|considering|given|if|while|although|though|however|also|then|it|it's|he|she|they|you"
        r"|that"
        r"|let's|should|especially"
    ),
    doubts=(
        r"(?:if\b(?! i (?:ask|say|mention)\b)|suppos|imagine|pretend|let's say|say i\b|what if|assum"
        r"|hypothetical|for example|e\.g\.|once upon"
        r"|unless|whether|should i|do i|am i|did i|would i|could i|why|what|who|which|how|where|when (?!i "
        + _TOLD
        + r"\b|ever))"
    ),
    mentions=rf"\bmy (?:{_KIN}|{_PET}),? (?!(?:I|I'm|I've|I'll)\b){_CAPITAL}[a-z]+\b(?!'s \w+ (?:house|place))",
    rules={
        "withdraw": (
            r"(?:you (?:don't|do not|no longer) (?:need|have) to .{2,80}?\b(?:any ?more|any longer)\b|you no longer"
            r" (?:need|have) to |you can stop (?=\w+ing)|(?:forget|ignore|disregard) (?:that |what )?i (?:said"
            r"|asked|told you|wanted|ever said)|no need to .{2,80}?\bany ?more\b|i no longer (?:want|need) you to )"
        ),
        "instruct": (
            rf"(?:{_ASK}(?:please )?(?:always|never|do(?:n't| not) ever)(?: please)?,? {_DO}"
            rf"|{_LATER},? (?=(?:please |always |never |only |just |can you |could you |i(?:'d like| want) you to "
            rf"|do(?:n't| not) |no |stop |when )*(?:{_DO}|no\b|stop))"
            rf"|in (?:the )?future,? (?=(?:please |always |never |only |do(?:n't| not) )*{_DO})"
            rf"|stop (?:using|apologi[sz]ing|adding|giving me|calling me|recommending|suggesting|sending me|starting"
            rf"|ending) \w"
            rf"|(?:when(?:ever)?|if|every ?time|each time|any ?time) i {_TOLD}\b[^.?!\n]{{3,140}}?, (?:then |please "
            rf"|always |never |do(?:n't| not) |just |only |i(?:'d like| want) you to |you (?:should|must) )*{_DO}"
            rf"|i(?:'d like| want| need) (?:all )?your (?:answers|responses|replies) "
            rf"|your (?:answers|responses|replies) should (?:always|never) )"
        ),
        "opening": (
            rf"(?:{_ASK}(?:please )?(?:{_DO}|stop \w+ing|do(?:n't| not)|only) [^.!?\n]{{2,100}}?\b{_LATER}"
            rf"|do(?:n't| not) (?:ever )?{_DO} [^.!?\n]{{2,80}}?\b(?:ever )?(?:again|any ?more)\b"
            rf"|{_DO} [^.?!\n]{{3,140}}?\b(?:whenever|every ?time|each time|any ?time) i {_TOLD}\b)"
        ),
        "answer": (
            r"(?:(?:(?:could|would|can) you )?(?:please )?(?:only )?(?:answer|respond|reply|speak"
            r"|talk)(?: to me)?(?: only)? in"
            r" (?:(?:plain |simple |british |american )?(?:english|german|french|spanish|portuguese|italian|russian"
            r"|japanese|chinese|korean|arabic|hindi|turkish|dutch|polish|swedish)|metric|imperial|celsius|fahrenheit"
            r"|bullet points|short sentences)\b(?! (?:the|this|whether|what)\b|:)"
            r"|(?:please )?(?:only )?use (?:metric|imperial|celsius|fahrenheit|si|british|american)\b"
            r"|(?:units|preferred language|language|pronouns|time ?zone) ?[:=] ?[\w/+ ]{2,20}$)"
        ),
        "call": (
            r"(?:(?:you can|you may|just|everyone|everybody|my friends|people|friends|they all) )*(?:call"
            r"|address|refer to) me"
            rf" (?:as )?(?!(?:mon|tues|wednes|thurs|fri|satur|sun)day\b){_CAPITAL}[\w'-]+(?= *(?:[.,!;]|$|instead\b"
            rf"|from\b|please\b|and\b))"
        ),
        "favourite": (
            r"my (?:all[- ]time |absolute )?favou?rite (?!parts?\b|things? (?:about|was)|was\b|one\b|ones\b|so far"
            r"|\w+ (?:from|of|in|so far|there)\b)"
            r"(?=[\w' -]{2,40}?(?: is | are |'s ))"
        ),
        "prefer": (
            rf"(?:i (?:{_ABOUT})*(?:prefer|like|love|hate|dislike|adore|enjoy|detest|can't stand"
            rf"|cannot stand) {_DEICTIC}(?=\w)"
            rf"|i (?:{_ABOUT})*(?:don't|do not) (?:really |particularly )?(?:like|enjoy|care for) {_DEICTIC}(?=\w)"
            rf"|i'd rather (?:you |not be )"
            rf"|{_AM}(?:not )?(?:really |much of |an? )?(?:big |huge |massive |great |lifelong )*(?:fan"
            rf"|lover) of {_DEICTIC}(?=\w)"
            rf"|i (?:{_ABOUT}|try to )*avoid {_DEICTIC}(?=\w))"
        ),
        "pronouns": r"my pronouns are |i use (?=\w+/\w+ pronouns)",
        "name": rf"(?:my (?:full |first )?name(?:'s| is) |i(?:'m| am) called |i go by |(?<=hi, )i'm |(?<=hello, )i'm "
        rf"|(?<=hey, )i'm |(?<=hi! )i'm "
        rf"|(?<=hello! )i'm )(?=(?:the name )?{_CAPITAL}[\w'-]+(?: {_CAPITAL}[\w'-]+)*(?:[ .,!]|$))",
        "home": rf"i(?:'ve| have)? (?:{_NOW})*(?:just |recently |finally )*(?:live in|been living in|reside in"
        rf"|moved (?:back )?to|relocated to|am based in) (?={_CAPITAL}|the (?-i:[A-Z]))"
        rf"|i(?:'m| am) (?:{_NOW})*(?:based|living) in (?={_CAPITAL})",
        "origin": rf"i(?:'m| am) (?:originally )?from (?={_CAPITAL})"
        rf"|i (?:grew up|was born and raised) in (?={_CAPITAL})"
        r"|my home ?town is ",
        "birthday": r"my birthday(?:'s| is) (?:on |in )?(?=[\w]+ ?\d|the \d)"
        r"|i was born (?:on|in) (?=\d|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))",
        "age": r"(?:i(?:'m| am) (?:now )?(?:an? )?\d{1,2}(?:[- ]years?[- ]old|[- ]?yo\b| (?:now|and)\b"
        r"|(?= *(?:[.,;!]|$)))"
        r"|i (?:just |recently )?turned \d{1,2}\b|my age is \d)",
        "job": (
            rf"(?:i (?:{_NOW})*work (?:full[- ]time |part[- ]time |remotely )?(?:as an? |at an? |for an? "
            rf"|in (?:the|an?) |(?:at|for) (?={_CAPITAL})|in (?!progress|groups?|pairs?|my)|from home)"
            rf"|my job is |my profession is "
            rf"|(?:i'm|i am|im) (?:{_NOW})*(?:an? )(?:{_PROFESSION})(?! (?:at heart|of the))"
            rf"|as an? (?:{_PROFESSION}){_MYSELF}|i(?:'m| am) (?:{_NOW})*"
            r"(?:retired|unemployed|self-employed|freelancing)\b(?! to))"
        ),
        "marital": r"i(?:'m| am) (?:now |happily |recently |newly )*(?:married|single|divorced|engaged"
        r"|widowed)\b(?! (?:in|to my|with (?:the|this)))",
        "diet": (
            rf"(?:as an? {_DIET}{_MYSELF}|(?:i'm|i am|im|i've been|i (?:just )?(?:became|went|turned)) (?:now "
            rf"|also |not |no longer |currently |actually |mostly )*"
            rf"(?:an? )?{_DIET}|i(?:'ve| have)? (?:no longer |stopped |quit |gave up |given up |don't |do not "
            rf"|never |can't |cannot )+"
            rf"(?:eat|eating|consume|being|drink) (?:any )?(?:meat|pork|beef|fish|dairy|gluten|animal products"
            rf"|red meat|seafood|vegetarian|vegan|sugar|alcohol)\b|i (?:now )?eat meat\b"
            rf"|i(?:'m| am) on an? (?:[\w-]+ ){{1,2}}diet\b"
            rf"|i follow an? (?:strict )?(?:[\w-]+ ){{1,2}}diet\b)"
        ),
        "allergy": (
            rf"i(?:'m| am) (?:{_NOW}|not |no longer |severely |highly |very |slightly |deathly |mildly )*(?:allergic to"
            r"|intolerant to) (?!(?:it|that|this|them|some)\b)|i have an? (?:severe |bad |mild )?allergy to "
            r"|i have an? (?:severe |bad |mild )?(?=\w+ allergy)"
        ),
        "fact": (
            rf"(?:i have {_COUNT}(?:kids?|child(?:ren)?|sons?|daughters?|brothers?|sisters?|siblings?|twins?"
            rf"|grandchildren|dogs?|cats?|pupp(?:y|ies)|kittens?|parrots?|rabbits?|hamsters?|horses?"
            rf"|retriever|terrier|shepherd|collie)\b"
            rf"|i (?:have|suffer from|was diagnosed with|have been diagnosed with|live with) (?:severe |mild "
            rf"|chronic )?{_ILL}\b"
            rf"|i(?:'ve| have) been diagnosed with (?!a\b)|i(?:'m| am) (?:diabetic|dyslexic|asthmatic|deaf|blind"
            rf"|colou?r[- ]?blind|left[- ]handed|autistic"
            rf"|epileptic|hard of hearing|(?:\w+ )?pregnant)\b|i use a wheelchair|i use an? (?={_CAPITAL})"
            rf"|i (?:don't|do not) (?:drink|smoke|drive)(?= *(?:[.,;!]|and\b|$))"
            rf"|i live in (?:an?|the) (?!world|time|society|very\b)(?=\w)"
            rf"|i (?:also )?speak (?:fluent )?(?={_CAPITAL})"
            rf"|i(?:'m| am) (?:fluent in|bilingual|learning) (?={_CAPITAL}|and|in)|my (?:native|first) language is"
            rf"|i(?:'m| am) a native (?={_CAPITAL})|i (?:own|drive|ride) an? (?=\w)(?!lot|bit)"
            rf"|my (?:new )?(?:car|phone|laptop|camera|bike|motorcycle|computer|guitar|piano) is an? "
            rf"|my {_KIN}(?:'s| is) (?:an?|called|named|allergic|vegetarian|vegan|from|name is) "
            rf"|my {_KIN} (?:works|lives) |my {_PET}(?:'s name is|'s called| is (?:an?|called|named)) )"
        ),
    },
)
