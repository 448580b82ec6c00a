"""Words of greetings, thanks and assent: a message that has no other says nothing to remember.

Those of which language detection is not sure in so short a text, or that are no stop words.
"""

from typing import Final

_WORDS: Final = """
    hi hey hello hallo thanks thank you thx ty cheers much many so very please welcome bye goodbye ok okay yes no
    yep nope sure great cool nice perfect awesome good morning evening night day got it all right alright sounds
    danke vielen dank schön sehr dankeschön bitte ja nein gut guten tag morgen abend tschüss servus moin prima super
    passt alles klar gracias muchas mil muy buenos buenas días tardes noches hola adiós sí vale bien claro de
    acuerdo merci beaucoup bonjour bonsoir salut oui non d'accord super parfait très bien au revoir obrigado
    obrigada muito olá oi bom boa dia tarde noite sim não tá grazie mille ciao buongiorno buonasera sì va bene dank
    je wel bedankt hoi goed tack så mycket hej tak mange takk kiitos paljon dziękuję bardzo cześć dzień dobry
    teşekkürler teşekkür ederim çok merhaba selam tamam evet hayır děkuji ahoj köszönöm szépen mulțumesc спасибо
    большое привет здравствуйте да нет хорошо ладно дякую привіт ευχαριστώ γεια شكرا جزيلا مرحبا نعم لا תודה רבה
    שלום כן לא धन्यवाद नमस्ते हाँ जी ありがとう ありがとうございます どうも こんにちは はい
    いいえ わかりました 감사합니다 고마워요 안녕하세요 네 아니요 谢谢 謝謝 你好 好的 是的
    不是 再见 ขอบคุณ ครับ ค่ะ สวัสดี cảm ơn xin chào
"""
COURTESIES: Final = frozenset(_WORDS.split())
