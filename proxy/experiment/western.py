"""Wordings of the languages that are told by the first word of a message."""

from typing import Final

from proxy.experiment.wording import END, Wording

ENGLISH: Final = Wording(
    openers="""
        no nope nah hmm hm uh um hey wait sorry ok okay well but and look listen please again thanks thank yes yeah
        actually ugh oh come hello hi dude bro lol i like as that that's thats this it it's not you you're you've
        youre wrong incorrect still read don't didn't why how what for let correction
    """,
    lead=(
        r"(?:(?:no+|nope|nah|h+m+|uh+|um+|hey|wait|sorry|ok(?:ay)?|well|look|listen|please|again|thanks|thank you|yes"
        r"|yeah|actually|ugh|oh|come on|hello|hi|dude|bro|lol)[,.!… -]+|(?:but|and) )*"
    ),
    phrases=(
        r"(?:no|nope|nah)[,.!…]* (?:i (?:mean|said|asked|was (?:asking|talking) about)|not (?:that|the|like that))",
        r"i meant (?!to\b|it (?:as|well)|no\b)",
        r"i(?:'ve| have)? (?:already|just|literally) (?:told you|gave you|given you|asked you"
        r"|answered (?:that|this|your)|(?:said|mentioned|explained) (?:that|this|it|so)(?! to\b))",
        r"i told you",
        r"i (?:didn't|did not|never) (?:ask (?:for|you|about|that)|(?:say|said) (?:that|this)|mean (?:that|this|it)"
        r"|want (?:that|this|you to))",
        r"(?:as|like) i(?:'ve| have)? (?:already |just )?(?:said|mentioned|told you|explained|wrote)"
        r"(?= (?:before|earlier|above|already|previously|in my|last time)|[,:.!]|$)",
        r"(?:that|this|it)(?:'s| is| was|s) (?:still |just |also |completely |totally |simply |clearly )*"
        r"(?:wrong|incorrect|inaccurate|untrue|nonsense)(?! (?:to|of|for|that|with|on|in|about)\b)",
        r"(?:that|this|it)(?:(?:'s| is| was|s) (?:still |really |at all |quite )*not|(?: isn't| wasn't| isnt))"
        r" (?:really |even |quite )?(?:right" + END + r"|correct|true|accurate|what i\b|an answer|the (?:right|one i))",
        r"not what i (?:asked|meant|said|wanted|need)",
        r"(?:that|this) (?:still )?(?:does|did)(?:n't| not) (?:work|help|answer|make sense|match|look right|fix)",
        r"it still (?:does(?:n't| not)|isn't|is not|fails|gives)",
        r"still (?:wrong|not (?:working|right|correct|what)|doesn't work|the same (?:error|problem|issue))",
        r"you(?:'re| are|re) (?:still |just |completely |totally )*(?:wrong"
        + END
        + r"|mistaken|incorrect|hallucinating"
        r"|making (?:that|this|it|things|stuff) up|not (?:listening|answering|understanding)|repeating yourself"
        r"|missing the point|ignoring)",
        r"you(?:'ve| have)? (?:just |also |again |still |already |completely )*(?:forgot(?:ten)?|misunderstood|misread"
        r"|mixed up|got (?:that|this|it|my \w+|the \w+|me) wrong|ignored|made (?:a|an?other|the same) (?:mistake|error)"
        r"|made (?:that|it|this) up|missed (?:the (?:point|question)|my)|answered the wrong)",
        r"you (?:still )?(?:did|have)(?:n't| not) (?:answer|listen|understand|underst\w+|read|follow|address|fix"
        r"|include|remember)",
        r"you keep (?:forgetting|ignoring|repeating|saying|making|giving|doing|getting)",
        r"(?:wrong|incorrect)(?: again| answer)?" + END,
        r"(?:re-?)?read (?:my|the) (?:question|message|prompt|instructions?) (?:again|carefully|properly)",
        r"don't you remember",
        r"didn't (?:you (?:read|listen)|i (?:just|already|tell|say|mention))",
        r"why (?:do you keep|are you (?:ignoring|repeating)|did you (?:ignore|forget))",
        r"how many times (?:do|must|should) i",
        r"what part of\b.{1,60}\b(?:do|did)(?:n't| not) you",
        r"for the (?:second|third|fourth|last|hundredth|umpteenth|nth) time",
        r"let me (?:repeat|rephrase|clarify)",
        r"i(?:'ll| will)? repeat",
        r"correction:",
    ),
)

GERMAN: Final = Wording(
    openers="""
        nein nee ne nö hm hmm äh also aber und ok okay sorry entschuldigung moment danke ja warte halt naja bitte ich
        das danach stimmt falsch du wie zum nicht immer nochmal
    """,
    lead=(
        r"(?:(?:nein|nee?|nö|h+m+|äh+|also|ok(?:ay)?|sorry|entschuldigung|moment|danke|ja|warte|halt|naja|bitte)"
        r"[,.!… -]+|(?:aber|und) )*"
    ),
    phrases=(
        r"(?:nein|nee?|nö)[,.!…]* (?:ich meine|nicht (?:das|die|der|den|so))\b",
        r"ich meinte (?!es (?:gut|ernst|nicht))",
        r"ich hab(?:e|'s|)(?: (?:dir|ihnen|euch|das|es|doch|schon|bereits|gerade|eben|ja|mal|vorhin|mehrmals|oben))+"
        r" (?:gesagt|erzählt|geschrieben|erwähnt|erklärt|gefragt|beantwortet)",
        r"das hab(?:e|) ich (?:(?:dir|ihnen|euch|doch|schon|bereits|gerade|eben|ja|vorhin) )+(?:gesagt|erzählt"
        r"|geschrieben|erwähnt|erklärt)",
        r"das hab(?:e|) ich (?:so |doch )?(?:nicht|nie) (?:gesagt|gefragt|gemeint|behauptet)",
        r"danach hab(?:e|) ich (?:gar |doch )?nicht gefragt",
        r"das (?:wollte|meinte) ich nicht",
        r"das (?:ist|war) (?:(?:aber|leider|so|immer noch|schon wieder|völlig|komplett|doch|einfach) )*"
        r"(?:falsch|inkorrekt|quatsch|unsinn|nicht (?:richtig|korrekt|wahr|das,? was|was ich))",
        r"(?:das )?stimmt (?:(?:aber|so|leider|doch|immer noch|gar) )*nicht" + END,
        r"das (?:funktioniert|klappt|hilft) (?:(?:aber|so|leider|mir|immer noch|auch) )*nicht",
        r"falsch" + END,
        r"immer noch (?:falsch|nicht (?:richtig|korrekt))",
        r"du (?:irrst|liegst falsch|verstehst mich (?:nicht|falsch)|hörst (?:mir )?nicht zu|vergisst)",
        r"du hast (?:(?:mich|das|es|da|wieder|schon wieder|mein\w* \w+|den \w+|die \w+|etwas) )*"
        r"(?:vergessen|missverstanden|falsch verstanden|verwechselt|übersehen|ignoriert"
        r"|nicht (?:beantwortet|verstanden|gelesen))",
        r"wie (?:(?:ich|schon|bereits|oben|vorhin|eben) )*(?:gesagt|erwähnt|geschrieben)(?= *(?:[,:.!]|$)| hab)",
        r"wie ich (?:(?:schon|bereits|dir|ihnen|vorhin) )*sagte",
        r"zum (?:zweiten|dritten|vierten|letzten|x-ten|hundertsten) mal",
    ),
)

FRENCH: Final = Wording(
    openers="""
        non mais euh ben bon ok désolé désolée pardon attends attendez merci oui hum alors enfin je j'ai j'avais c'est
        ce ça faux tu vous comme pour toujours relis relisez
    """,
    lead=(
        r"(?:(?:non|euh+|ben|bon|ok|désolée?|pardon|attend[sz]|attendez|merci|oui|hum+|alors|enfin)[,.!… -]+|mais )*"
    ),
    phrases=(
        r"je (?:voulais dire|voulais parler|parlais d\w*)",
        r"je (?:te l'ai|vous l'ai|l'ai|t'ai|vous ai) (?:déjà |bien |pourtant )?(?:dit|expliqué|précisé)",
        r"je viens de (?:te |vous )?(?:le |l')?(?:dire|préciser|expliquer)",
        r"je n(?:e t|e vous |)'?ai (?:pas|jamais) (?:dit|demandé) (?:ça|cela|de|que|ce)",
        r"je ne (?:parle|parlais) pas d\w*",
        r"j'a(?:i|vais) (?:déjà|bien|pourtant) (?:dit|demandé|précisé|expliqué|mentionné|répondu)",
        r"(?:non[,.!]* )?(?:c'est|c'était) (?:encore |toujours |complètement )*(?:faux|inexact|incorrect|une erreur)"
        + END,
        r"c'est (?:toujours )?pas (?:ça|cela|vrai|correct|exact|juste)" + END,
        r"c'est (?:toujours )?pas ce que j\w*",
        r"ce n'est (?:toujours )?pas (?:(?:ça|cela|vrai|correct|exact|juste)" + END + r"|ce que j\w*)",
        r"ça (?:ne )?(?:marche|fonctionne|répond|m'aide) (?:toujours )?pas",
        r"faux" + END,
        r"tu (?:te trompes|t'es trompée?|confonds|oublies|ne (?:comprends|m'écoutes|réponds) pas)",
        r"tu as (?:encore )?(?:oublié|mal compris|mal lu|confondu|ignoré)",
        r"tu n'as pas (?:répondu|compris|lu|écouté|suivi)",
        r"vous (?:vous trompez|vous êtes trompée?s?|avez (?:encore )?(?:oublié|mal compris|confondu)"
        r"|n'avez pas (?:répondu|compris|lu))",
        r"comme je (?:te |vous )?(?:l'ai|l'avais|le)? ?(?:déjà )?(?:dit|disais|mentionné|précisé)",
        r"(?:relis|relisez) (?:ma|mon|mes) ",
        r"pour la (?:deuxième|troisième|dernière|énième) fois",
    ),
)

SPANISH: Final = Wording(
    openers="""
        no pero eh mm bueno oye perdón perdona espera gracias sí ok vale mira a yo me quería quise eso esto ya te acabo
        como se estás incorrecto sigue todavía por olvidaste
    """,
    lead=(
        r"¡?(?:(?:no|eh+|mm+|bueno|oye|perdón|perdona|espera|gracias|sí|ok|vale|mira|a ver)[,.!… -]*[,.!…] *|pero )*¡?"
    ),
    phrases=(
        r"(?:yo )?(?:me refería|quería decir|quise decir|no me refería)",
        r"no me refiero a (?:eso|esto)",
        r"no (?:es|era) (?:eso|lo que (?:te )?(?:pedí|pregunté|dije|quería|quiero|he))",
        r"(?:eso|esto) (?:no (?:es|era) (?:así|cierto|correcto|verdad|lo que)|está mal|sigue (?:estando )?mal"
        r"|es (?:falso|incorrecto|mentira|un error)" + END + r"|no (?:funciona|me sirve|responde))",
        r"no (?:es|era) (?:correcto|cierto|verdad)" + END,
        r"(?:yo )?no (?:te )?(?:pregunté|dije|pedí) (?:eso|esto|por|que|lo)",
        r"(?:yo )?ya te (?:lo )?(?:dije|he dicho|había dicho|conté|expliqué|mencioné|comenté)",
        r"ya (?:lo )?(?:dije|he dicho)" + END,
        r"te (?:lo )?(?:acabo de decir|dije que|he dicho que|lo dije|lo he dicho)",
        r"acabo de decir(?:te|lo|telo)",
        r"como (?:ya )?(?:te )?(?:he dicho|dije|mencioné|decía|comenté)(?= *(?:[,:.]|$)| antes| anteriormente)",
        r"(?:te )?olvidaste|te has olvidado|se te (?:olvidó|ha olvidado)",
        r"te (?:equivocas|equivocaste|has equivocado|estás equivocando)|estás equivocad[oa]",
        r"no (?:me )?(?:entendiste|has entendido|respondiste|has respondido|contestaste|leíste|has leído)",
        r"incorrecto" + END,
        r"(?:sigue|todavía) (?:está mal|no (?:funciona|es correcto))",
        r"por (?:segunda|tercera|última|enésima) vez",
    ),
)

PORTUGUESE: Final = Wording(
    openers="""
        não mas hum bom olha desculpa desculpe espera obrigado obrigada sim ok então eu quis queria já te acabei isso
        isto errado incorreto você tu esqueceu como pela ainda
    """,
    lead=(r"(?:(?:não|hum+|bom|olha|desculp[ae]|espera|obrigad[oa]|sim|ok|então)[,.!… -]*[,.!…] *|mas )*"),
    phrases=(
        r"(?:eu )?(?:quis dizer|queria dizer|estava falando d\w*|me referia|estava me referindo)",
        r"(?:eu )?já (?:te |lhe )?(?:disse|falei|expliquei|mencionei|avisei)(?= *(?:[,.!]|$)"
        r"| (?:que|isso|isto|antes|a você))",
        r"(?:eu )?te (?:disse|falei) (?:que|isso)",
        r"(?:eu )?acabei de (?:te )?(?:dizer|falar)",
        r"(?:eu )?não (?:perguntei|disse|pedi|falei) (?:isso|isto|por|que|sobre|para)",
        r"(?:isso|isto) (?:ainda |continua )?(?:não (?:está|é|era|foi) (?:certo|correto|verdade|o que)|está (?:errado"
        r"|incorreto|mal)|(?:é|errado|incorreto|falso|mentira)" + END + r"|não (?:funciona|funcionou|ajuda|responde))",
        r"não (?:é|era|foi) (?:isso|o que eu)",
        r"(?:errado|incorreto)" + END,
        r"(?:você |tu )(?:(?:se )?esqueceu|esqueceste|está (?:errad[oa]|enganad[oa])|se enganou|errou|confundiu"
        r"|não (?:respondeu|me respondeu|entendeu|leu|me entendeu)|entendeu (?:errado|mal))",
        r"esqueceu[- ]?(?:se)? d\w+",
        r"como (?:eu )?(?:já )?(?:te )?(?:disse|falei|mencionei)(?= *(?:[,:.]|$)| antes| anteriormente)",
        r"ainda (?:está (?:errado|incorreto)|não (?:está certo|funciona))",
        r"pela (?:segunda|terceira|última|enésima) vez",
    ),
)

ITALIAN: Final = Wording(
    openers="""
        no ma ehm mah beh scusa scusi aspetta grazie sì ok senti guarda allora io intendevo volevo mi non te ti l'ho ho
        questo quello è sbagliato errato hai stai tu dimentichi continui come ripeto per gliel'ho ancora
    """,
    lead=(r"(?:(?:no|ehm+|mah|beh|scus[ai]|aspetta|grazie|sì|ok|senti|guarda|allora)[,.!… -]*[,.!…] *|ma )*"),
    phrases=(
        r"(?:io )?(?:intendevo|volevo dire|mi riferivo|non intendevo)",
        r"(?:te|gliel|ve) ?l?'ho (?:già |appena )?detto",
        r"ti (?:ho|avevo) (?:già|appena) (?:detto|scritto|spiegato)|ti avevo detto",
        r"l'ho (?:già|appena) (?:detto|scritto|spiegato)",
        r"ho (?:già|appena) (?:detto|spiegato) (?:che|questo)",
        r"non (?:ti )?ho (?:mai )?(?:detto|chiesto) (?:questo|quello|di|che|ciò)",
        r"non è (?:quello|ciò) che (?:ho|volevo|intendevo|chiedevo|ti)",
        r"non è (?:vero|corretto|giusto|esatto|così|quello|questo)" + END,
        r"(?:questo |quello )?(?:è|era) (?:ancora |proprio |completamente )?(?:sbagliat[oa]|errat[oa]|scorrett[oa])"
        + END,
        r"(?:sbagliato|errato)" + END,
        r"non funziona(?= *(?:[,.!]|$)| ancora| lo stesso)",
        r"(?:tu )?hai (?:di nuovo |ancora )?(?:dimenticato|sbagliato|frainteso|capito male|confuso|ignorato)",
        r"(?:tu )?ti (?:sei (?:sbagliat[oa]|dimenticat[oa]|confus[oa])|sbagli" + END + r"|stai sbagliando)",
        r"non hai (?:capito|risposto|letto|ascoltato|seguito)",
        r"(?:dimentichi (?:sempre|di nuovo)|continui a )",
        r"come (?:ti )?(?:ho (?:già )?detto|dicevo|già detto|avevo detto)(?= *(?:[,:.]|$)| prima| sopra)",
        r"ripeto" + END,
        r"per la (?:seconda|terza|ultima|ennesima) volta",
    ),
)

TURKISH: Final = Wording(
    openers="""
        hayır yok ama şey pardon tamam evet demek kastettiğim bu bunu onu öyle yanlış yanılıyorsun yanılıyorsunuz hata
        sana size beni zaten daha az demin söylediğim dediğim belirttiğim adımı unuttun unuttunuz soruma sorumu hala
        hâlâ ben
    """,
    lead=r"(?:(?:hayır|yok|şey|pardon|tamam|evet)[,.!… -]+|ama )*",
    phrases=(
        r"(?:ben(?:im)? )?(?:demek istediğim|kastettiğim)",
        r"bu (?:hala |hâlâ |tamamen )?(?:yanlış|hatalı|doğru değil)" + END,
        r"yanlış" + END,
        r"(?:beni )?yanlış (?:anladın|anladınız|cevap|yanıt)|yanılıyorsun(?:uz)?",
        r"hata yaptın(?:ız)?",
        r"(?:(?:sana|size|bunu|zaten|daha önce|az önce|demin) )+(?:söyle(?:dim|miştim)|belirt(?:tim|miştim)"
        r"|anlat(?:tım|mıştım))",
        r"(?:(?:daha önce|az önce|demin) )?(?:söylediğim|dediğim|belirttiğim) gibi",
        r"(?:ben )?(?:bunu|onu|öyle) (?:demedim|sormadım|istemedim|kastetmedim)",
        r"(?:\w+ ){0,3}unuttun(?:uz)?" + END,
        r"(?:soruma (?:cevap|yanıt) vermedin|sorumu anlamadın)(?:ız)?",
        r"(?:hala|hâlâ) (?:yanlış|olmadı|çalışmıyor|aynı hata)",
    ),
)
