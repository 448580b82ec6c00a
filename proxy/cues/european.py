"""Cues of European languages, whose verbs stand near the beginning of a clause as in English."""

from typing import Final

from proxy.cues.base import Cues

GERMAN: Final = Cues(
    triggers="""
        immer nie niemals jetzt künftig zukunft sofort merk merke denk vergiss bevorzuge ziehe lieber liebe hasse mag
        lieblingsfarbe lieblingsessen heiße heisse name nenn nenne lebe wohne umgezogen gezogen allergisch allergie
        vegetarier vegetarierin vegetarisch vegan veganer veganerin antworte antworten schreib sprich arbeite komme
        esse jahre kinder verheiratet ledig geschieden geburtstag meine mein brauchst verwende benutze sag
    """,
    lead=(
        r"(?:(?:und|aber|also|denn|da|weil|bitte|übrigens|hallo|hi|danke|ja|nein|ok|okay|außerdem|auch"
        r"|(?:bitte )?merke? dir(?: bitte)?|vergiss nicht|denk daran|denke daran|wie gesagt|nur zur info)(?:[,:!.]* +"
        r"|, ?)(?:dass (?=ich|mein))?)+"
    ),
    keep=r"\bmerke? dir\b|\bvergiss nicht\b|\bdenke? daran\b",
    joints=r"aber|denn|weil|da|ich|mein|meine|kannst|könntest|was|wie|welche|wo|bitte|wir|er|sie|also|was|gibt|hast",
    doubts=r"(?:wenn ich .{0,40}\b(?:wäre|hätte)|falls|angenommen|stell dir vor|nehmen wir an|soll ich|was|wie|wo|wer"
    r"|warum|welche|ob)\b",
    rules={
        "withdraw": r"(?:du (?:musst|brauchst) (?:nicht|nicht mehr|mir nicht mehr)\b.{2,80}\bmehr\b"
        r"|du (?:musst|brauchst) nicht mehr |vergiss,? (?:dass|was) ich gesagt)",
        "instruct": (
            r"(?:(?:antworte|schreib|schreibe|verwende|benutze|nutze|gib|nenne?|sprich|zeig|zeige|erkläre?|sag|sage"
            r"|füge?|erwähne|duze|sieze)"
            r"(?: mir| mich| dabei| bitte)* (?:immer|stets|nie|niemals|künftig|ab jetzt|ab sofort|in zukunft)\b"
            r"|(?:immer|stets|nie|niemals) \w[^.!?\n]{2,80}(?:antworten|schreiben|verwenden|benutzen|geben|nennen"
            r"|angeben|erklären|sprechen)\b"
            r"|(?:ab jetzt|ab sofort|von jetzt an|von nun an|künftig|in zukunft),? (?!ich|werde|will|bin|bist"
            r"|möchte ich|wir|mein)"
            r"|ich möchte,? dass du (?:immer|nie|stets|niemals) )"
        ),
        "answer": r"antworte(?: mir)?(?: bitte)?(?: nur)? (?:auf (?:deutsch|englisch|französisch|spanisch|italienisch)"
        r"|in stichpunkten|kurz)\b(?! (?:die|ob|was))",
        "call": r"(?:nenn|nenne) mich (?:bitte |einfach )?(?-i:[A-ZÄÖÜ])\w+(?= *(?:[.,!;]|$))",
        "favourite": r"(?:mein|meine) lieblings(?=\w+ (?:ist|sind|heißt) )",
        "prefer": r"(?:ich bevorzuge |ich ziehe .{2,60} vor\b|ich mag (?!das\b|es\b|den\b|die idee|diese)(?:kein "
        r"|keine "
        r"|keinen )?\w|ich liebe (?!das\b|es\b|dich|diese)\w|ich hasse (?!das\b|es\b|diese)\w"
        r"|ich (?:esse|trinke|lese|fahre|benutze|verwende|nehme) (?:immer |am )?lieber |ich vermeide )",
        "name": r"(?:ich hei(?:ß|ss)e |mein name ist )(?=(?-i:[A-ZÄÖÜ])\w+)",
        "home": r"ich (?:wohne|lebe) (?:jetzt |seit \w+ |derzeit )?in (?=(?-i:[A-ZÄÖÜ]))(?!einer|einem)"
        r"|ich bin (?:\w+ )?nach (?-i:[A-ZÄÖÜ])\w+ (?:um)?gezogen",
        "origin": r"ich komme (?:ursprünglich )?aus (?=(?-i:[A-ZÄÖÜ]))",
        "job": r"ich arbeite (?:als|bei|für) |ich bin (?:\w+ )?(?-i:[A-ZÄÖÜ])\w*(?:lehrer|ingenieur|entwickler|arzt"
        r"|ärztin|student|krankenschwester|anwalt|programmierer|pfleger|designer)(?:in)?\b"
        r"|ich bin (?:lehrer|ingenieur|entwickler|arzt|ärztin|student|krankenschwester|anwalt|programmierer"
        r"|designer|rentner)(?:in)?\b",
        "birthday": r"(?:mein geburtstag ist|ich habe am \d.{2,20} geburtstag|ich bin am \d)",
        "age": r"ich bin \d{1,2}(?: jahre alt\b|(?= *(?:[.,;]|$)))",
        "marital": r"ich bin (?:verheiratet|ledig|geschieden|verlobt|verwitwet)\b",
        "diet": r"ich (?:bin|lebe|ernähre mich|bin nicht mehr|bin kein|bin keine) (?:jetzt |streng |nicht mehr |kein "
        r"|keine |inzwischen )*(?:vegetarier(?:in)?|veganer(?:in)?|vegetarisch|vegan|glutenfrei)\b"
        r"|ich esse (?:kein|keine|keinen|wieder) (?:fleisch|fisch|schweinefleisch|gluten|milchprodukte)\b",
        "allergy": r"ich bin (?:stark |nicht mehr |sehr )?allergisch (?:gegen|auf) |ich habe eine (?=\w+allergie)",
        "fact": r"(?:ich habe (?:ein|eine|einen|zwei|drei|vier|\d) (?:\w+ )?(?:kind|kinder|sohn|söhne|tochter|töchter"
        r"|hund|hunde|katze|katzen|bruder|schwester|geschwister)\b|ich spreche (?=(?-i:[A-Z]))"
        r"|mein(?:e)? (?:frau|mann|sohn|tochter|hund|katze|freundin|freund|partner|partnerin) heißt )",
    },
)

FRENCH: Final = Cues(
    triggers="""
        toujours jamais désormais dorénavant partir maintenant souviens souviens-toi rappelle rappelle-toi n'oublie
        oublie préfère j'aime n'aime j'adore déteste préféré préférée préférés m'appelle nom appelle-moi appelez-moi
        j'habite habite vis allergique végétarien végétarienne végane végétalien réponds répondez travaille suis mange
        ans marié mariée j'évite enfants anniversaire mon ma
    """,
    lead=(
        r"(?:(?:et|mais|car|donc|parce que|comme|puisque|s'il te plaît|s'il vous plaît|stp|svp|au fait|bonjour"
        r"|salut|merci|oui|non|aussi|alors"
        r"|souviens-toi que|rappelle-toi que|n'oublie pas que|sache que|note que)(?:[,:! ]+))+"
    ),
    keep=r"\b(?:souviens-toi|rappelle-toi|n'oublie pas)\b",
    joints=r"mais|car|donc|je|j'\w+|mon|ma|peux|pouvez|pourrais|pourriez|que|quels?|quelles?|comment|où|est-ce|tu|nous"
    r"|il|elle|parce",
    doubts=r"(?:si j|imagine|supposons|admettons|est-ce que|dois-je|pourquoi|comment|où|qui|quels?|quelles?)\b",
    rules={
        "withdraw": r"(?:tu n'as plus besoin de |vous n'avez plus besoin de |oublie (?:que|ce que) j'ai (?:dit|demandé)"
        r"|plus besoin de )",
        "instruct": (
            r"(?:(?:réponds|répondez|utilise|utilisez|écris|donne|donnez|parle|explique|ajoute|cite|mets|commence"
            r"|termine|inclus|tutoie|vouvoie)(?:-moi)? (?:toujours|désormais|dorénavant)\b"
            r"|ne (?:\w+ )?(?:réponds|utilise|utilisez|écris|donne|parle|mets|cite|propose|recommande|me \w+) jamais\b"
            r"|(?:désormais|dorénavant|à partir de maintenant),? (?!je|j'|nous|tu es|il|elle|on|mon|ma|le|la|les)"
            r"|je (?:veux|voudrais|souhaite) que tu \w+ toujours )"
        ),
        "answer": r"(?:réponds|répondez)(?:-moi)? (?:uniquement |seulement )?en (?:français|anglais|espagnol|allemand"
        r"|italien)\b(?! (?:à|si))",
        "call": r"(?:tu peux m'appeler|vous pouvez m'appeler|appelle-moi"
        r"|appelez-moi) (?-i:[A-ZÉ])[\w-]+(?= *(?:[.,!;]|$))",
        "favourite": r"(?:mon|ma|mes) (?=[\w' ]{2,30} (?:préférée?s?|favorite?s?) (?:est|sont|c'est))",
        "prefer": r"(?:je préfère (?!ça|cela|celui|celle|la première|le premier|ce\b)\w"
        r"|j(?:e n)?'aime (?:pas |beaucoup |bien )?(?!ça|cela|ton|ta|cette|ce\b|bien ça|pas ça|l'idée)\w"
        r"|j'adore (?!ça|cette|ce\b|l'idée)\w|je déteste (?!ça|cette|ce\b)\w|j'évite )",
        "name": r"(?:je m'appelle|mon nom est|mon prénom est) (?=(?-i:[A-ZÉ]))",
        "home": r"(?:j'habite|je vis)(?: maintenant| actuellement)? (?:à|au|en|aux) (?=(?-i:[A-ZÉ]))"
        r"|j'ai (?:\w+ )?(?:déménagé|emménagé) (?:à|au|en|aux) (?=(?-i:[A-ZÉ]))",
        "origin": r"je (?:viens|suis originaire) d(?:e |u |')(?=(?-i:[A-ZÉ]))",
        "job": r"je travaille (?:comme|chez|pour|en tant que) |je suis (?:un |une )?(?:professeur|enseignante?"
        r"|ingénieure?|développeu(?:r|se)|médecin|infirmi(?:er|ère)|étudiante?|avocate?|retraitée?"
        r"|architecte)\b",
        "birthday": r"mon anniversaire est ",
        "age": r"j'ai \d{1,2} ans\b(?! d')",
        "marital": r"je suis (?:mariée?|célibataire|divorcée?|fiancée?)\b",
        "diet": r"je (?:suis|ne suis plus|suis devenue?) (?:\w+ )?(?:végétarien(?:ne)?|végane?|végétalien(?:ne)?"
        r"|vegan)\b|je ne mange (?:pas|plus|jamais) (?:de |d')(?:viande|porc|poisson|gluten)"
        r"|je mange (?:de nouveau|à nouveau) de la viande",
        "allergy": r"je (?:suis|ne suis plus) (?:très |gravement )?allergique (?:à|au|aux) ",
        "fact": r"(?:j'ai (?:un|une|deux|trois|quatre|\d) (?:\w+ )?(?:enfants?|fils|filles?|chiens?|chats?|frères?"
        r"|sœurs?)\b|je parle (?:couramment )?(?:français|anglais|espagnol|allemand|italien)"
        r"|(?:ma|mon) (?:femme|mari|fils|fille|chien|chat|copine|copain) s'appelle )",
    },
)

SPANISH: Final = Cues(
    triggers="""
        siempre nunca jamás adelante ahora recuerda acuérdate olvides olvida prefiero gusta gustan encanta encantan
        odio favorito favorita llamo nombre llámame dime vivo mudé alérgico alérgica vegetariano vegetariana vegano
        vegana responde respóndeme contesta trabajo soy años casado casada evito como hijos cumpleaños mi
    """,
    lead=(
        r"(?:(?:y|pero|porque|ya que|así que|por favor|por cierto|hola|gracias|sí|no(?=[,.!])|además|también|como"
        r"|recuerda que|acuérdate de que|no olvides que|ten en cuenta que)(?:[,:! ]+))+[¡]?"
    ),
    keep=r"\b(?:recuerda|acuérdate|no olvides)\b",
    joints=r"pero|porque|así|yo|mi|me|puedes|podrías|qué|cómo|dónde|cuál|tienes|por|nosotros|él|ella|soy",
    doubts=r"(?:¿|si (?:yo )?(?:fuera|fuese|tuviera|viviera)|imagina|supongamos|digamos|debo|debería|qué|cómo|dónde"
    r"|por qué|cuál)",
    rules={
        "withdraw": r"(?:ya no (?:necesitas|hace falta|tienes que|es necesario) "
        r"|olvida (?:que|lo que) (?:te )?(?:dije|pedí))",
        "instruct": (
            r"(?:(?:responde|respóndeme|contesta|usa|utiliza|escribe|dame|habla|explica|incluye|añade|cita|pon"
            r"|tutéame) siempre\b"
            r"|siempre (?:responde|respóndeme|contesta|usa|utiliza|escribe|dame|incluye|habla|explica|añade|cita)\b"
            r"|(?:nunca|jamás) (?:uses|respondas|utilices|escribas|me des|incluyas|hables|menciones|recomiendes"
            r"|me recomiendes|me llames)\b"
            r"|(?:a partir de ahora|de ahora en adelante|desde ahora|en adelante),? (?!yo|voy|eres|me |mi "
            r"|quiero ser|vamos|el|la)|quiero que siempre )"
        ),
        "answer": r"(?:responde|respóndeme|contesta|contéstame) (?:solo |sólo |únicamente )?en (?:español|inglés"
        r"|francés"
        r"|alemán|italiano|portugués)\b",
        "call": r"(?:llámame|puedes llamarme) (?-i:[A-ZÁÉÍÓÚÑ])\w+(?= *(?:[.,!;]|$))",
        "favourite": r"mi (?=[\w ]{2,30} (?:favorit[oa]|preferid[oa]) (?:es|son))",
        "prefer": r"(?:prefiero (?!eso|esto|esa|ese|la primera|el primero|la segunda)\w"
        r"|(?:a mí )?(?:no )?me (?:gustan?|encantan?) (?:mucho |más )?(?!eso|esto|esa|ese|tu|la idea|esta|este"
        r"|saber)\w|odio (?!eso|esto|esta|este)\w|evito )",
        "name": r"(?:me llamo|mi nombre es) (?=(?-i:[A-ZÁÉÍÓÚÑ]))",
        "home": r"(?:yo )?(?:vivo|resido)(?: ahora| actualmente)? en (?=(?-i:[A-ZÁÉÍÓÚÑ]))"
        r"|me (?:he mudado|mudé) a (?=(?-i:[A-ZÁÉÍÓÚÑ]))",
        "origin": r"(?:yo )?soy (?:originalmente )?de (?=(?-i:[A-ZÁÉÍÓÚÑ]))",
        "job": r"(?:yo )?trabajo (?:como|de|para) |soy (?:un |una )?(?:profesora?|maestr[oa]|ingenier[oa]"
        r"|desarrolladora?|médic[oa]|enfermer[oa]|estudiante|abogad[oa]|programadora?|jubilad[oa])\b",
        "birthday": r"mi cumpleaños es ",
        "age": r"tengo \d{1,2} años\b(?! de)",
        "marital": r"(?:estoy|soy) (?:casad[oa]|solter[oa]|divorciad[oa])\b",
        "diet": r"(?:yo )?(?:(?:ya )?no )?soy (?:\w+ )?(?:vegetarian[oa]|vegan[oa]|celíac[oa])\b"
        r"|(?:ya )?no como (?:carne|cerdo|pescado|gluten)\b|(?:ahora )?como carne (?:otra vez|de nuevo)",
        "allergy": r"(?:(?:ya )?no )?soy (?:muy )?alérgic[oa] (?:a|al) |tengo alergia (?:a|al) ",
        "fact": r"(?:tengo (?:un|una|dos|tres|cuatro|\d) (?:\w+ )?(?:hij[oa]s?|perr[oa]s?|gat[oa]s?|herman[oa]s?)\b"
        r"|hablo (?:español|inglés|francés|alemán)|mi (?:mujer|esposa|marido|esposo|hij[oa]|perr[oa]|gat[oa]"
        r"|novi[oa]) se llama )",
    },
)

PORTUGUESE: Final = Cues(
    triggers="""
        sempre nunca jamais agora diante lembre lembre-se esqueça esquece prefiro gosto adoro odeio favorito favorita
        preferida preferido chamo nome chame chama-me chame-me moro vivo mudei alérgico alérgica vegetariano
        vegetariana vegano vegana responda responde trabalho sou anos casado casada evito como filhos aniversário
        precisa
    """,
    lead=r"(?:(?:e|mas|porque|então|por favor|aliás|olá|oi|obrigad[oa]|sim|não(?=[,.!])|também|como|lembre-se de que"
    r"|lembre-se que|lembre que|não esqueça que|não se esqueça de que)(?:[,:! ]+))+",
    keep=r"\b(?:lembre|não (?:se )?esqueça)\b",
    joints=r"mas|porque|então|eu|meu|minha|pode|poderia|que|qual|como|onde|você|nós|ele|ela|sou",
    doubts=r"(?:se eu (?:fosse|tivesse|morasse)|imagine|suponha|digamos|devo|o que|como|onde|por que|qual)\b",
    rules={
        "withdraw": r"(?:(?:você )?não precisa(?:s)? mais |esque(?:ça|ce) (?:que|o que) eu (?:disse|pedi))",
        "instruct": (
            r"(?:(?:responda|responde|use|usa|utilize|escreva|dê|fale|explique|inclua|cite|coloque) sempre\b"
            r"|sempre (?:responda|responde|use|utilize|escreva|me dê|inclua|fale|explique|cite)\b"
            r"|(?:nunca|jamais) (?:use|responda|utilize|escreva|me dê|inclua|fale|mencione|recomende|me recomende"
            r"|me chame)\b"
            r"|(?:a partir de agora|de agora em diante|daqui em diante|daqui para a frente),? (?!eu|vou|você é"
            r"|vamos|meu|minha|o|a)|quero que (?:você )?sempre )"
        ),
        "answer": r"(?:responda|responde)(?:-me)? (?:apenas |só |somente )?em (?:português|inglês|espanhol|francês"
        r"|alemão"
        r"|italiano)\b",
        "call": r"(?:me chame de|chame-me de|chama-me|pode me chamar de) (?-i:[A-ZÁÉÍÓÚÂÊÔÃÕÇ])\w+(?= *(?:[.,!;]|$))",
        "favourite": r"(?:o meu|a minha|meu|minha) (?=[\w ]{2,30} (?:favorit[oa]|preferid[oa]) é)",
        "prefer": r"(?:(?:eu )?prefiro (?!isso|esse|essa|este|esta|a primeira|o primeiro)\w"
        r"|(?:eu )?(?:não )?gosto (?:muito |mais )?(?:de |do |da )(?!isso|você)\w"
        r"|(?:eu )?(?:adoro|odeio) (?!isso|esse|essa|este|esta|a ideia)\w|(?:eu )?evito )",
        "name": r"(?:(?:eu )?me chamo|chamo-me|(?:o )?meu nome é) (?=(?-i:[A-ZÁÉÍÓÚÂÊÔÃÕÇ]))",
        "home": r"(?:eu )?(?:moro|vivo|resido)(?: agora| atualmente)? (?:em|no|na) (?=(?-i:[A-ZÁÉÍÓÚÂÊÔÃÕÇ]))"
        r"|(?:eu )?(?:me mudei|mudei-me|mudei) para (?=(?-i:[A-ZÁÉÍÓÚÂÊÔÃÕÇ]))",
        "origin": r"(?:eu )?sou (?:de|do|da) (?=(?-i:[A-ZÁÉÍÓÚÂÊÔÃÕÇ]))",
        "job": r"(?:eu )?trabalho (?:como|para) |(?:eu )?sou (?:um |uma )?(?:professora?|engenheir[oa]|desenvolvedora?"
        r"|médic[oa]|enfermeir[oa]|estudante|advogad[oa]|programadora?|aposentad[oa])\b",
        "birthday": r"(?:o )?meu aniversário é ",
        "age": r"(?:eu )?tenho \d{1,2} anos\b(?! de)",
        "marital": r"(?:eu )?sou (?:casad[oa]|solteir[oa]|divorciad[oa])\b",
        "diet": r"(?:eu )?(?:já )?(?:não )?sou (?:mais )?(?:vegetarian[oa]|vegan[oa]|celíac[oa])\b"
        r"|(?:eu )?não como (?:mais )?(?:carne|porco|peixe|glúten)\b|(?:eu )?voltei a comer carne",
        "allergy": r"(?:eu )?(?:já )?(?:não )?(?:sou|tenho) (?:mais |muito )?(?:alérgic[oa]|alergia) (?:a|à|ao|aos) ",
        "fact": r"(?:(?:eu )?tenho (?:um|uma|dois|duas|três|quatro|\d) (?:\w+ )?(?:filh[oa]s?|cachorr[oa]s?|gat[oa]s?"
        r"|irmãos?|irmãs?)\b|(?:eu )?falo (?:português|inglês|espanhol)"
        r"|(?:meu|minha) (?:mulher|esposa|marido|filh[oa]|cachorr[oa]|gat[oa]|namorad[oa]) se chama )",
    },
)

ITALIAN: Final = Cues(
    triggers="""
        sempre mai poi adesso ora ricorda ricordati dimenticare dimentica preferisco piace piacciono amo odio
        preferito preferita chiamo nome chiamami vivo abito trasferito trasferita allergico allergica vegetariano
        vegetariana vegano vegana rispondi rispondimi lavoro sono anni sposato sposata evito mangio figli compleanno
    """,
    lead=r"(?:(?:e|ma|perché|quindi|per favore|comunque|ciao|grazie|sì|no(?=[,.!])|anche|inoltre|siccome"
    r"|dato che|ricorda che"
    r"|ricordati che|non dimenticare che)(?:[,:! ]+))+",
    keep=r"\b(?:ricorda|ricordati|non dimenticare)\b",
    joints=r"ma|perché|quindi|io|il mio|la mia|mi|puoi|potresti|che|quale|quali|come|dove|hai|noi|lui|lei|sono",
    doubts=r"(?:se (?:io )?(?:fossi|avessi|vivessi)|immagina|supponiamo|diciamo|devo|cosa|come|dove|perché|quale"
    r"|quali)\b",
    rules={
        "withdraw": r"(?:non (?:devi|serve|c'è bisogno|è necessario)(?: che tu)? più |non c'è più bisogno "
        r"|dimentica (?:che|quello che) ho (?:detto|chiesto))",
        "instruct": (
            r"(?:(?:rispondi|rispondimi|usa|utilizza|scrivi|dammi|parla|spiega|includi|cita|metti"
            r"|dammi del) sempre\b|non (?:usare|rispondere|scrivere|darmi|includere|parlare|consigliarmi|chiamarmi"
            r"|menzionare) mai\b"
            r"|(?:d'ora in poi|da ora in poi|da adesso in poi|da oggi in poi),? (?!io|sei|sarai|andrò|il|la)"
            r"|voglio che tu \w+ sempre )"
        ),
        "answer": r"(?:rispondi|rispondimi) (?:solo |sempre )?in (?:italiano|inglese|francese|spagnolo|tedesco)\b",
        "call": r"(?:chiamami|puoi chiamarmi) (?-i:[A-Z])\w+(?= *(?:[.,!;]|$))",
        "favourite": r"(?:il mio|la mia) (?=[\w ]{2,30} preferit[oa] (?:è|sono))",
        "prefer": r"(?:(?:io )?preferisco (?!questo|quello|questa|quella|il primo|la prima)\w"
        r"|(?:non )?mi (?:piace|piacciono) (?:molto |tanto )?(?!questo|questa|quello|l'idea|come|la tua)\w"
        r"|(?:io )?(?:amo|adoro|odio) (?!questo|questa|quello|l'idea)\w|evito )",
        "name": r"(?:mi chiamo|il mio nome è) (?=(?-i:[A-Z]))",
        "home": r"(?:io )?(?:vivo|abito)(?: ora| adesso| attualmente)? (?:a|in|ad) (?=(?-i:[A-Z]))"
        r"|mi sono (?:appena )?trasferit[oa] (?:a|in|ad) (?=(?-i:[A-Z]))",
        "origin": r"(?:io )?(?:vengo da|sono originari[oa] di|sono di) (?=(?-i:[A-Z]))",
        "job": r"(?:io )?lavoro (?:come|per|presso) |sono (?:un |una |un')?(?:insegnante|professore(?:ssa)?|ingegnere"
        r"|sviluppat(?:ore|rice)|medico|infermier[ea]|student(?:e|essa)|avvocat[oa]|programmat(?:ore|rice)"
        r"|pensionat[oa])\b",
        "birthday": r"il mio compleanno è ",
        "age": r"ho \d{1,2} anni\b(?! di)",
        "marital": r"sono (?:sposat[oa]|single|divorziat[oa])\b",
        "diet": r"(?:non )?sono (?:più )?(?:vegetarian[oa]|vegan[oa]|celiac[oa])\b"
        r"|non mangio (?:più )?(?:carne|maiale|pesce|glutine)\b|mangio di nuovo (?:la )?carne",
        "allergy": r"(?:non )?sono (?:più |molto )?allergic[oa] (?:a|ai|al|alle|alla|agli) ",
        "fact": r"(?:ho (?:un|una|due|tre|quattro|\d) (?:\w+ )?(?:figli[oae]?|can[ei]|gatt[oi]|fratell[oi]"
        r"|sorell[ae])\b|parlo (?:italiano|inglese|francese)"
        r"|(?:mia|mio) (?:moglie|marito|figli[oa]|can[e]|gatt[oa]|ragazz[oa]) si chiama )",
    },
)

RUSSIAN: Final = Cues(
    triggers="""
        всегда никогда впредь отныне теперь помни запомни забудь забывай предпочитаю люблю ненавижу любимый любимая
        любимое нравится зовут имя зови называй живу переехал переехала аллергия вегетарианец вегетарианка веган
        отвечай пиши говори работаю мне лет женат замужем ем дети избегаю моя мой используй нужно
    """,
    lead=r"(?:(?:и|а|но|потому что|так как|поскольку|пожалуйста|кстати|привет|здравствуйте|спасибо|да|нет|ещё|еще"
    r"|также|помни,? что|запомни,? что|не забудь,? что|не забывай,? что|учти,? что)(?:[,:! ]+))+",
    keep=r"\b(?:помни|запомни|не забудь|не забывай)\b",
    joints=r"а|но|потому|я|мой|моя|мне|у|можешь|можете|как|что|где|какие|какой|он|она|мы|посоветуй|подскажи",
    doubts=r"(?:если бы|если|представь|допустим|предположим|стоит ли|почему|как|что|где|кто|какие|какой)\b",
    rules={
        "withdraw": r"(?:больше не (?:нужно|надо) |(?:тебе |вам )?не (?:нужно|надо) больше "
        r"|забудь,? (?:что|о том,? что) я (?:сказал|говорил|просил))",
        "instruct": (
            r"(?:(?:всегда|никогда не) (?:отвечай|отвечайте|пиши|используй|используйте|давай|указывай|говори"
            r"|объясняй|приводи|называй|предлагай|упоминай|обращайся)\b"
            r"|(?:отвечай|отвечайте|пиши|используй|указывай|говори|объясняй|обращайся ко мне) (?:мне )?всегда\b"
            r"|(?:отныне|впредь|с этого момента|с сегодняшнего дня),? (?!я |ты |мы |мой|моя))"
        ),
        "answer": r"(?:отвечай|отвечайте|пиши)(?: мне)? (?:только )?(?:на (?:русском|английском|немецком)|по-русски"
        r"|по-английски|кратко)(?: языке)?\b(?! (?:на|что))",
        "call": r"(?:(?:зови|называй|зовите|называйте) меня|можешь звать меня) (?-i:[А-ЯЁ])\w+(?= *(?:[.,!;]|$))",
        "favourite": r"(?:мой|моя|моё|мое) любим(?:ый|ая|ое) (?=[\w ]{2,30} ?(?:—|–|-|это))",
        "prefer": r"(?:я (?:больше |обычно )?предпочитаю (?!это|этот|эту)\w"
        r"|я (?:не |очень )?люблю (?!это|тебя|эту|этот)\w|я ненавижу (?!это|эту)\w"
        r"|мне (?:не |очень )?нрав(?:ится|ятся) (?!это|эта|твоя|твой|идея|как)\w|я избегаю )",
        "name": r"(?:меня зовут|мо[её] имя[ —–-]*) ?(?=(?-i:[А-ЯЁ]))",
        "home": r"я (?:сейчас |теперь )?(?:живу|проживаю) в (?=(?-i:[А-ЯЁ]))"
        r"|я (?:недавно )?переехал[а]? в (?=(?-i:[А-ЯЁ]))",
        "origin": r"я (?:родом )?из (?=(?-i:[А-ЯЁ]))",
        "job": r"я работаю (?!над|с утра|весь)\w|я (?:—|–|-)? ?(?:учитель|инженер|разработчик|врач|медсестра|студент"
        r"|студентка|юрист|программист|пенсионер)\b",
        "birthday": r"мой день рождения ",
        "age": r"мне \d{1,2} (?:год|года|лет)\b",
        "marital": r"я (?:женат|замужем|разведён|разведена|холост)\b",
        "diet": r"я (?:больше )?(?:не )?(?:строгий )?(?:вегетариан(?:ец|ка)|веган(?:ка)?)\b"
        r"|я (?:больше )?не ем (?:мяс[оа]|свинин[уы]|рыб[уы]|глютен)\b|я снова ем мясо",
        "allergy": r"у меня (?:больше нет |сильная )?аллерги[яи] на ",
        "fact": r"(?:у меня (?:есть )?(?:один|одна|двое|трое|два|две|три|\d)? ?(?:детей|ребёнок|сын|сына|дочь|дочери"
        r"|собака|собаки|кот|кошка|брат|сестра)\b|я говорю (?:на |по-)"
        r"|(?:мою|моего) (?:жену|мужа|сына|дочь|собаку|кота|кошку|девушку|парня) зовут )",
    },
)
