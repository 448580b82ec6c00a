"""Function words, greetings and thanks of many languages: a table of data.

Words in Latin letters stand here without accents, as :func:`proxy.text.folding.fold_word` leaves them: many people type
none. Short lists suffice: they tell languages apart, and keep out of the index what nearly every message has.
"""

from typing import Final, NamedTuple

# Without "may", "second" and the like, which are months and numbers just as often. The greetings are here so that a
# mere "hi" asks for nothing.
_ENGLISH: Final = """
    a about after again all also am an and any are as at be because been before being but by can could did do does
    doing done down each else ever few for from get gets getting go goes going gonna got had has have having he her
    here hers him his how however i if in into is it its itself just let lets like me might more most much must my
    myself no nor not now of off oh ok okay on once one only or other our ours out over own please really same shall
    she should so some such than thank thanks that the their them then there these they this those through to too
    under until up us very was we well were what when where which while who whom whose why will with would yeah yes
    yet you your yours yourself hello hey hi bye
"""
ENGLISH: Final = frozenset(_ENGLISH.split())


class Language(NamedTuple):
    """*stemmer*: its name in Snowball, "" where it has none. *letters*: those that English has not.

    *stem_length*: where words pile up endings, their first five letters find as much as a lexicon does (Can et al.,
    "Information retrieval on Turkish texts", 2008), and Snowball leaves some of the endings.
    """

    stemmer: str
    letters: str
    function_words: str
    stem_length: int | None = None


LATIN: Final = (
    Language(
        "german",
        "äöüß",
        """der die das den dem des ein eine einen einem einer eines kein keine keinen ich du er sie es wir ihr mich mir
        dich dir ihn ihm uns euch sich mein meine meinen meinem meiner dein deine deinen deinem unser unsere unserer
        ist sind war waren bin bist seid wird werden wurde hat habe haben hatte hatten hast kann konnte soll sollte
        muss will wollte wollen und oder aber nicht auch noch schon nur sehr so wie was wer wo wann warum welche
        welcher welches welchen welchem im in an am auf aus bei mit nach seit von vom zu zum zur fur um gegen uber
        unter vor als dass wenn weil denn dann da hier ja nein doch mal bitte danke hallo tschuss viele heisst
        heisse heissen gibt man alle jetzt""",
    ),
    Language(
        "french",
        "àâçèéêëîïôûùœ",
        """le la les un une des du de au aux ce cet cette ces je tu il elle on nous vous ils elles me te se moi toi lui
        leur leurs mon ma mes ton ta tes son sa ses notre nos votre vos est sont suis es sommes etes etait etais
        etaient sera ai as a avons avez ont avait avais avoir etre fait faire dit et ou mais donc car ne pas plus
        aussi tres bien que qui quoi dont quand comment pourquoi combien quel quelle quels quelles en dans sur sous
        avec sans pour par chez depuis vers entre si oui non y l d j c n s t m qu aujourd hui ici tout tous toute
        toutes bonjour bonsoir salut merci svp plait appelle appelles""",
    ),
    Language(
        "spanish",
        "áéíñóú¿¡",
        """el la los las un una unos unas lo al del de yo tu usted nosotros ellos ella ellas me te se nos os le les mi
        mis tus su sus nuestro nuestra nuestros nuestras este esta estos estas ese esa eso esto es son soy eres
        somos fue era estoy estamos estan ha he has hemos han hay habia haber ser estar tengo tiene tienes y o u
        pero no ni tambien muy mas que quien cual cuales cuando donde como porque cuanto cuanta cuantos a en con sin
        por para desde hasta sobre entre si ya aqui todo todos toda todas hola gracias adios favor llama llamo""",
    ),
    Language(
        "portuguese",
        "ãõáàâçéêíóôú",
        """o a os as um uma uns umas do da dos das de no na nos nas ao aos pelo pela num numa eu tu voce voces ele ela
        eles elas me te se lhe meu minha meus minhas seu sua seus suas nosso nossa nossos nossas este esta isto esse
        essa isso e sao sou foi era estou estao ser estar tem tenho ha ou mas nao tambem muito mais que quem qual
        quais quando onde como porque quanto quantos em com sem por para desde ate sobre entre sim ja aqui tudo
        todos ola oi obrigado obrigada tchau chama chamo""",
    ),
    Language(
        "italian",
        "àèéìòù",
        """il lo la i gli le un uno una del dello della dei degli delle di da dal dalla dai al allo alla ai agli alle
        nel nello nella nei nelle sul sulla io tu lui lei noi voi loro mi ti si ci vi me te mio mia miei mie tuo tua
        suo sua suoi sue nostro nostra nostri nostre questo questa questi queste quello quella e sono sei siamo
        siete era ero ho hai ha abbiamo avete hanno essere avere ed o ma non anche molto piu che chi cosa quale
        quali quando dove come perche quanto quanti in con senza per su tra fra se gia qui tutto tutti l d c ciao
        grazie prego salve chiama chiamo chiamano""",
    ),
    Language(
        "dutch",
        "ëï",
        """de het een en of maar niet geen ook nog al zeer heel ik jij je hij zij ze wij we jullie mij me jou hem haar
        ons hun mijn jouw zijn onze deze dit dat die is ben bent was waren wordt worden heb hebt heeft hebben had
        kan kunnen zal zou moet wil wilden wat wie waar wanneer waarom hoe welke welk in op aan uit bij met naar van
        voor door over om tot te er hier daar ja nee als dan want omdat alle hallo hoi dank bedankt dankjewel
        alsjeblieft wel doei heet""",
    ),
    Language(
        "swedish",
        "åäö",
        """och eller men att det den de en ett jag du han hon vi ni dem sa mig dig honom henne oss er sig min mitt mina
        din ditt dina var vart vara sin sitt sina ar varit bli blir blev har hade ha kan kunde ska skulle maste vill
        ville inte ingen inget ocksa mycket mer som vad vem nar hur varfor vilken vilket vilka i pa av fran till med
        utan for om under over vid hos sedan efter innan dar ja nej alla hej tack heter nu""",
    ),
    Language(
        "danish",  # and Norwegian, which shares most of these words
        "æøå",
        """og eller men at det den de en et jeg du han hun vi dem mig meg dig deg ham hende henne os oss sig seg min
        mit mitt mine din dit ditt dine vores sin sit er var vaere vaeret bliver blev har havde hadde ha kan kunne
        skal skulle vil ville ikke ingen ogsa meget mere som hvad hva hvem hvor hvornar nar hvordan hvorfor hvilken
        hvilket hvilke i pa af av fra til med uden for om under over ved hos siden efter etter her der ja nej nei
        alle hej tak takk hedder heter""",
    ),
    Language(
        "polish",
        "ąćęłńóśźż",
        """i oraz lub ale nie tak tez bardzo ja ty on ona ono my wy oni one mnie mi mna ciebie ci jego jej go mu nas
        nam was wam ich im sie moj moja moje moich mojej moim moi twoj twoja nasz nasza nasze jest sa jestem jestes
        bylo byl byla byc bedzie mam masz ma mial w we z ze na do od za po przed przy dla o u pod nad bez co kto
        gdzie kiedy jak jaki jaka jakie jakich dlaczego czy czego ile ktory ktora ktore ten ta to te tego tej tym
        juz jeszcze tylko czesc dzieki dziekuje prosze nazywa nazywaja""",
    ),
    Language(
        "turkish",
        "çğıöşüâ",
        """ve veya ya da de ki ama fakat icin ile gibi kadar bu su o bir ben sen biz siz onlar bana sana ona bize beni
        seni onu benim senin onun bizim sizin onlarin mi mu ne neden nicin nasil nerede nereye nereden zaman hangi
        kim kimin kac cok daha en her hic hem var yok degil olarak oldu olan olur oldugunu evet hayir simdi merhaba
        selam tesekkur tesekkurler ederim ediyorum sagol lutfen""",
        stem_length=5,
    ),
    Language(
        "czech",
        "áčďéěíňóřšťúůýž",
        """a i nebo ale ne ano take velmi ja ty on ona ono my vy oni me mi mne mnou te ti jeho jeji ho mu nas nam vas
        vam jich jim se si muj moje moji mych tvuj tvoje nase je jsou jsem jsi jsme byl byla bylo byt bude mam mas
        ma mame v ve z ze na do od za po pred pri pro o u pod nad bez s co kdo kde kdy jak jaky jaka jake proc zda
        kolik ktery ktera ktere ten ta to tento uz jeste jen ahoj dekuji diky prosim jmenuje""",
    ),
    Language(
        "romanian",
        "ăâîșțşţ",
        """si sau dar nu da foarte eu tu el ea noi voi ei ele ma te se ne va imi iti ii mie meu mea mei mele tau ta sa
        nostru noastra este e sunt esti suntem era am ai are avem au fi fost un o unei unui al ale la in din de pe
        cu fara pentru prin despre ce cine unde cand cum care cat cati daca ca mai acest aceasta salut buna
        multumesc rog numeste cheama""",
    ),
    Language(
        "finnish",
        "äö",
        """ja tai mutta ei en et emme eivat mina sina han me te he minun sinun hanen meidan minulla minulle minut sinua
        on ovat olen olet olemme oli olin olla ollut mita mika mitka kuka missa milloin miksi miten kuinka tama se
        ne nama myos hyvin kun jos etta niin vain nyt jo viela kanssa moi hei kiitos nimi""",
        stem_length=5,
    ),
    Language(
        "hungarian",
        "áéíóöőúüű",
        """a az es vagy de nem igen is nagyon en te o mi ti ok engem nekem neked van vannak vagyok volt voltam lesz
        lenni egy ez hogy ha mert mint mar meg csak ki hol mikor miert hogyan milyen melyik mennyi hany szia
        koszonom kerem hivjak""",
        stem_length=5,
    ),
    Language(
        "indonesian",  # and Malay
        "",
        """dan atau tetapi tapi tidak bukan ya juga sangat saya aku kamu anda dia kami kita mereka ini itu adalah akan
        sudah telah sedang ada di ke dari pada untuk dengan tanpa oleh yang apa siapa dimana mana kapan mengapa
        kenapa bagaimana berapa halo terima kasih tolong selamat""",
    ),
    Language(
        "",  # Vietnamese does not inflect
        "ăâđêôơưáàãạảấầẩậắằặẹẻẽếềểễệỉịọỏốồổỗộớờởợụủứừửữựỳỵỷỹ",
        """va hoac nhung khong toi ban anh chi em no chung ta cua la duoc bi co cho voi trong ngoai tren duoi nay kia
        do gi ai dau nao khi sao bao nhieu rat cung da dang se chao cam xin""",
    ),
)

# Words of English, or of its names and loans, that are function words elsewhere: they say nothing about the language.
LOOKALIKES: Final = """
    a ah ai al am an are art as at au bin chi come con da dank dare das de del den der des die dies din do dot dove
    du due e east el em en era es est et ex fan fast for fra general gift go had han hat he her hay hi him hon i ii
    im in is it la las le lei les lo los ma man mar mas me men mi mia mine mir mit mon mu my na nan ne nah no non
    nor not nu o of oh ok on once ones or os our pan par pas per plus por pour pro que real red rest sa salve san
    sans se sea seek set si simple sin sit so sole son sub sue sun sur ta tak tan te ten ter than that ti til tin to
    ton too tot tu tun u uk un us van vi via vice vim von war was we will y ya ye yeah yet you ze nos ha has have
    must ami tie tes mes ses mama over under hoe wit hun want door bent ben als mark lot mai care bud mere dine dig
    dem ham sig bad sang fat kiss slut hang halo ki mana oni one ty ho nas pod tale pure mare note fine bene were
    net pet top kim com min jest take ca ci dir io biz cet var og deg todo op sim cat met num co comment fi vid ini
    dos cam ate ed car todos pre
"""

# What other scripts' languages have for function words, greetings and thanks: Russian and Ukrainian, Arabic and
# Persian, Hebrew, Hindi, Greek. The script tells them apart well enough.
OTHER_SCRIPTS: Final = """
    и в во не что он на я с со как а то все она так его но да ты к у же вы за бы по только ее мне было вот от меня
    еще нет о из ему теперь когда даже ну ли если уже или ни быть был была были него до вас нибудь вам ведь там
    потом себя ей они тут где есть надо для мы тебя их чем сам без будто чего тоже себе под будет кто этот того
    потому этого какой какая какие каких каком какую каким ним здесь этом мой моя мое мои моих моего моей моему моим
    моими мою тем чтобы нее сейчас куда зачем при об это эта эти тебе нас нам нами наш наша наше наши про почему
    сколько который которая которые твой твоя твои очень спасибо привет здравствуй здравствуйте пожалуйста пока
    зовут і й та що це як але або дуже мені мене мій моє мої ти ми ви він вона вони його її коли чому скільки дякую
    привіт будь ласка є був була من في على الى عن مع هذا هذه ذلك تلك هو هي هم انا انت نحن لا ما ماذا متى اين كيف
    لماذا كم هل اي ان كان كانت قد لم لن ثم او و يا كل بعض عند عندي لي لك له لها لنا الذي التي منذ بعد قبل اسم اسمي
    شكرا جزيلا مرحبا اهلا وسهلا السلام عليكم نعم فضلك سلام از به که را با این برای است بود هست تو شما انها چه چي چرا
    كجا كي چگونه اما تا ها هاي مي نمي ممنون متشكرم مرسي خيلي של את אני אתה הוא היא אנחנו אתם הם הן זה זאת זו לא כן
    גם רק כל על עם אל אם או כי אבל מה מי איפה מתי איך למה כמה איזה איזו אילו יש אין היה היתה הייתה היו להיות שלי שלך
    שלו שלה שלנו לי לך לו לה לנו אותי אותך מאוד עוד כבר בבקשה תודה רבה שלום היי का की के को में से पर और या है हैं
    था थी थे हूं हो मैं मैंने मुझे मेरा मेरी मेरे हम हमने हमें हमारा हमारी हमारे तुम तू आप आपका आपकी आपके यह वह ये
    वे इस उस ने क्या कब कहां कैसे क्यों कौन किस कितना कितने कितनी कि जो तो भी ही नहीं हां एक बहुत कर करता करती करते
    रहा रही रहे गया गई गए हुआ हुई लिए साथ बाद अपना अपनी अपने नमस्ते नमस्कार धन्यवाद शुक्रिया कृपया ο η το οι τα του
    της των τον την τη τους τις ενα ενας μια και αλλα δεν μην ναι οχι εγω εσυ αυτος αυτη αυτο εμεις εσεις μου σου
    μας σας με σε στο στη στην στον στα στους στις απο για προς ως που πως ποτε τι ποιος ποια ποιο ποιοι ποιες ποσο
    ποσες ποσα οτι αν να θα ειναι ειμαι εισαι ηταν εχω εχεις εχει πολυ επισης γεια ευχαριστω παρακαλω καλημερα
"""

# Taken out of scripts without spaces as they stand: greetings, thanks, and what sentences are made with.
DENSE_PHRASES: Final = """
    ありがとうございました ありがとうございます ありがとう こんにちは こんばんは おはようございます おはよう
    さようなら すみません お願いします おねがいします よろしく はじめまして していました しています している
    してください ください ていました ています ている でしょうか でしょう でした ですか ました ません ますか という
    について どんな 谢谢你 谢谢 謝謝 你好 您好 早上好 晚上好 再见 再見 不客气 请问 什么 什麼 怎么 怎麼 为什么 為什麼
    哪里 哪裡 哪儿 哪个 哪個 多少 时候 我们 我們 你们 你們 他们 他們 这个 這個 那个 那個 안녕하세요 안녕히 안녕
    감사합니다 고맙습니다 고마워요 고마워 감사해요 반갑습니다 무엇 무슨 어떤 언제 어디 누구 우리 저는 나는 สวัสดี
    ขอบคุณ ครับ ค่ะ ที่ไหน เมื่อไร อะไร
"""
# Pairs of kana that end half of all verbs, and characters of Chinese and Japanese that are words without content.
DENSE_STOP: Final = """
    です ます した して って てい いま った んで から まで とか など では には のは のが のを ので けど この その
    あの どの これ それ あれ どこ いつ だれ なに どう なぜ ある あり りま まし ませ せん でし たい れる られ する
    いる ない 的 了 是 我 你 您 他 她 它 们 們 在 有 和 与 與 也 都 就 不 没 沒 很 吗 嗎 呢 吧 啊 呀 把 被 这 這 那
    哪 着 著 过 過 得 地 给 給 对 對 从 從 到 要 会 會 能 说 說 私 何
"""

# Words with content among others, but when there are no others, these say nothing ("great, lol"), and beside them nor
# do those of COMPANIONS ("guten Morgen").
ACKNOWLEDGEMENTS: Final = """
    hm merci danke gracias obrigado obrigada grazie hola ciao bonjour большое dogru absolutely alright amazing
    awesome brilliant cheers cool exactly excellent fantastic fine good great haha hahaha hehe hmm indeed lmao lol
    lovely nah nice nope perfect right sure super sweet thx ty tysm welcome wonderful wow yay yep yup omg rofl kk
    okey goodbye see np appreciated noted understood agreed definitely certainly totally schon prima genau klar alles
    toll parfait genial accord perfecto vale claro perfeito beleza legal perfetto bene certo leuk mooi toppen bra
    tamam harika dobrze swietnie haydi jaja jajaja kkk rsrs отлично хорошо понятно ясно супер класс ок ага угу
    حسنا ممتاز تمام طيب جيد סבבה מעולה יופי אוקיי אחלה ठीक अच्छा बढ़िया τελεια ωραια ενταξει guten bonne bon
    buenos buenas bom boa buon buongiorno buona goede goedemorgen god gunaydin iyi dzien dobry dobranoc dobre
    доброе добрый спокойной صباح مساء בוקר ערב צהריים शुभ सुप्रभात καλησπερα καληνυχτα
"""
COMPANIONS: Final = """
    morning afternoon evening night day luck sounds lot ton everyone everybody there guys mate buddy bro later
    soon around morgen tag abend nacht beaucoup nuit journee soiree jour bientot dias tardes noches muchas mucho
    muchisimas dia tarde noite mille giorno sera notte avond morgon kvall geceler aksamlar gunler wieczor rano
    утро день вечер ночи огромное الخير النور خير يوم سعيد טוב טובים לילה प्रभात रात्रि
"""
NODS: Final = "👍👌🙏😊🙂😀😃😄😁😆😂🤣😅😉😍🥰😘😎🤗❤♥💕💯👏🙌✅✔✓☑❌✖✗✨⭐★☆●■▪▶►→♀♂💪🤝👋🥳"
