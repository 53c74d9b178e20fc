"""German commands for a voice assistant: word lists and sentence templates.

Nouns come with their article or preposition where the case depends on the sentence.
"""

import random

from .grammar import Grammar, words

_ONES = words(
    "null, eins, zwei, drei, vier, fünf, sechs, sieben, acht, neun, zehn, elf, zwölf, dreizehn, vierzehn,"
    "fünfzehn, sechzehn, siebzehn, achtzehn, neunzehn"
)
_TENS = words("zwanzig, dreißig, vierzig, fünfzig, sechzig, siebzig, achtzig, neunzig")


def number(value: int) -> str:
    """The words for 0 to 999, written together: 42 is `zweiundvierzig`, 315 is `dreihundertfünfzehn`."""
    if value < 20:
        return _ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return (f"{_compound(ones)}und" if ones else "") + _TENS[tens - 2]
    hundreds, rest = divmod(value, 100)
    return f"{_compound(hundreds)}hundert" + (number(rest) if rest else "")


def _compound(ones: int) -> str:
    """A digit inside a longer number: `ein`, not `eins`."""
    return "ein" if ones == 1 else _ONES[ones]


def _hour(rng: random.Random) -> str:
    return number(rng.randint(1, 12))


def _clock(rng: random.Random) -> str:
    hour = rng.randint(1, 24)
    forms = [
        f"{_compound(hour) if hour < 10 else number(hour)} Uhr",
        f"{_compound(hour) if hour < 10 else number(hour)} Uhr {number(rng.randint(2, 59))}",
        f"{_compound(hour) if hour < 10 else number(hour)} Uhr {number(5 * rng.randint(1, 11))}",
        f"halb {_hour(rng)}",
        f"Viertel nach {_hour(rng)}",
        f"Viertel vor {_hour(rng)}",
        f"zehn nach {_hour(rng)}",
        f"fünf vor {_hour(rng)}",
    ]
    return rng.choices(forms, weights=[4, 3, 3, 3, 2, 2, 1, 1])[0]


def _duration(rng: random.Random) -> str:
    return rng.choice(
        [
            f"{number(rng.randint(2, 59))} Minuten",
            f"{number(rng.randint(2, 59))} Sekunden",
            f"{number(rng.randint(2, 24))} Stunden",
            rng.choice(["einer Stunde", "einer halben Stunde", "einer Minute", "einer Viertelstunde"]),
        ]
    )


def _digits(rng: random.Random) -> str:
    return " ".join(_ONES[rng.randrange(10)] for _ in range(rng.randint(3, 6)))


_IN_ROOMS = words(
    "in der Küche, im Schlafzimmer, im Bad, im Wohnzimmer, im Esszimmer, in der Garage, im Flur, im Büro,"
    "im Garten, im Keller, auf dem Dachboden, im Kinderzimmer, auf dem Balkon, im Gästezimmer,"
    "in der Werkstatt, auf der Terrasse"
)
_DEVICES = words(
    "das Licht, die Lampe, den Ventilator, die Heizung, den Fernseher, den Lautsprecher, das Radio,"
    "die Klimaanlage, die Kaffeemaschine, die Spülmaschine, die Waschmaschine, den Backofen,"
    "den Staubsauger, den Drucker, die Alarmanlage, die Deckenlampe, den Wasserkocher, den Rechner,"
    "den Trockner, die Stehlampe, den Kamin, die Stereoanlage, die Nachttischlampe"
)
_OPENINGS = words(
    "die Tür, das Fenster, die Jalousien, die Vorhänge, die Haustür, das Garagentor, die Rollläden,"
    "das Dachfenster, das Gartentor, die Balkontür"
)
_COLOURS = words("Rot, Grün, Blau, Gelb, Lila, Orange, Weiß, Rosa, Türkis, Violett, Silber, Warmweiß")
_CITIES = words(
    "London, Paris, Berlin, Madrid, Rom, Wien, Tokio, Hamburg, München, Köln, Frankfurt, Stuttgart, Leipzig,"
    "Dresden, Zürich, Bern, Salzburg, Prag, Warschau, Brüssel, Kopenhagen, Lissabon, Athen, Hannover,"
    "Nürnberg, Bremen, Innsbruck, Düsseldorf"
)
_DAYS = words("Montag, Dienstag, Mittwoch, Donnerstag, Freitag, Samstag, Sonntag")
_MONTHS = words(
    "Januar, Februar, März, April, Mai, Juni, Juli, August, September, Oktober, November, Dezember"
)
_WHENS = words(
    "heute, morgen, heute Abend, am Wochenende, heute Nachmittag, nächste Woche, morgen früh, übermorgen,"
    "heute Nacht, nächsten Monat"
)
_NAMES = words(
    "Anna, Jürgen, Maria, David, Susanne, Peter, Laura, Thomas, Emma, Daniel, Sophie, Georg, Helene, Martin,"
    "Julia, Oliver, Käthe, Günter, Heinrich, Nora, Stefan, Ursula, Björn, Franziska"
)
_PEOPLE = [
    *_NAMES,
    *words(
        "Mama, Papa, Oma, meinen Bruder, meine Schwester, den Arzt, den Zahnarzt, das Büro,"
        "meinen Chef, die Nachbarn, den Klempner, die Schule"
    ),
]
_GROCERIES = words(
    "Milch, Brot, Eier, Butter, Käse, Äpfel, Bananen, Tomaten, Kartoffeln, Zwiebeln, Reis, Nudeln,"
    "Kaffee, Tee, Zucker, Mehl, Hähnchen, Fisch, Joghurt, Orangensaft, Olivenöl, Seife,"
    "Toilettenpapier, Schokolade, Honig, Möhren, Zitronen, Salz, Pfeffer, Batterien, Katzenfutter,"
    "Pilze, Knoblauch, Spinat, Erdbeeren, Kerzen, Glühbirnen, Brötchen, Gemüse, Nüsse"
)
_MUSIC = words(
    "Jazz, Rockmusik, klassische Musik, Popmusik, Volksmusik, Blues, elektronische Musik, Soul, Reggae,"
    "Opernmusik, Klaviermusik, Gitarrenmusik, Tanzmusik, Filmmusik, Weihnachtslieder, Kinderlieder"
)
_CHORES = words(
    "die Bank anzurufen, die Blumen zu gießen, den Müll rauszubringen, die Katze zu füttern,"
    "mit dem Hund zu gehen, die Miete zu überweisen, ein Geschenk zu kaufen, die Fenster zu putzen,"
    "die Kinder abzuholen, den Bericht zu schicken, die Tabletten zu nehmen, einen Tisch zu bestellen,"
    "das Auto zu laden, die Post zu holen, das Geschirr zu spülen, die Bücher zurückzugeben,"
    "die Wäsche zu waschen, den Pass zu verlängern, das Essen zu kochen, das Fahrrad zu reparieren,"
    "die Karten zu kaufen, die Hemden zu bügeln, den Kuchen zu backen"
)
_EVENTS = words(
    "die Besprechung, den Zahnarzttermin, die Geburtstagsfeier, das Mittagessen, das Abendessen,"
    "die Klavierstunde, das Fußballspiel, den Yogakurs, das Vorstellungsgespräch, den Flug,"
    "den Friseurtermin, das Konzert, den Elternabend, das Frühstück, die Führung"
)
_ORDINALS = words(
    "ersten, zweiten, dritten, vierten, fünften, sechsten, siebten, achten, neunten, zehnten, elften,"
    "zwölften, fünfzehnten, zwanzigsten, dreißigsten"
)
_TO_PLACES = words(
    "zur Tankstelle, zum Krankenhaus, zur Apotheke, zum Supermarkt, zum Restaurant, zum Parkhaus,"
    "zur Bäckerei, zum Museum, zur Post, zum Schwimmbad, zum Bahnhof, zum Flughafen, zum Hotel,"
    "zur Buchhandlung, zum Rathaus"
)
_MEDIA = words(
    "die Musik, den Film, das Lied, die Sendung, das Radio, das Hörbuch, das Video, die Wiedergabeliste,"
    "die Aufnahme"
)
_DISHES = words(
    "Pfannkuchen, Tomatensuppe, Apfelkuchen, Hühnersuppe, Gemüsesuppe, Pizza, Kartoffelsalat, Käsespätzle,"
    "Grünkohl, Rührei"
)
_MODES = words(
    "Nachtmodus, Urlaubsmodus, Filmmodus, Partymodus, Morgenmodus, Schlafmodus, Putzmodus, Sparmodus,"
    "Gästemodus"
)
_MACHINES = words(
    "die Spülmaschine, die Waschmaschine, die Kaffeemaschine, den Staubsauger, den Backofen,"
    "den Rasensprenger, den Trockner"
)
_LANGUAGES = words(
    "Französisch, Englisch, Spanisch, Italienisch, Japanisch, Polnisch, Schwedisch, Griechisch"
)


def _noun(phrase: str) -> str:
    """The noun without its article or preposition."""
    return phrase.rsplit(" ", 1)[-1]


_LEXICON = sorted({
    *map(_noun, _IN_ROOMS), *map(_noun, _DEVICES), *map(_noun, _OPENINGS), *_COLOURS, *_CITIES, *_DAYS, *_MONTHS,
    *_NAMES, *_GROCERIES, *map(_noun, _MUSIC), *map(_noun, _EVENTS), *map(_noun, _TO_PLACES), *map(_noun, _MEDIA),
    *_DISHES, *_MODES, *_LANGUAGES, *_ONES, *_TENS,
})  # fmt: skip

GERMAN = Grammar(
    language="de",
    slots={
        "room": _IN_ROOMS,
        "device": _DEVICES,
        "opening": _OPENINGS,
        "colour": _COLOURS,
        "city": _CITIES,
        "day": _DAYS,
        "month": _MONTHS,
        "when": _WHENS,
        "name": _NAMES,
        "person": _PEOPLE,
        "grocery": _GROCERIES,
        "music": _MUSIC,
        "chore": _CHORES,
        "event": _EVENTS,
        "ordinal": _ORDINALS,
        "place": _TO_PLACES,
        "medium": _MEDIA,
        "dish": _DISHES,
        "mode": _MODES,
        "machine": _MACHINES,
        "language": _LANGUAGES,
        "clock": _clock,
        "duration": _duration,
        "digits": _digits,
        "number": lambda rng: number(rng.randint(2, 99)),
        "large": lambda rng: number(rng.randint(100, 999)),
        "degrees": lambda rng: number(rng.randint(12, 30)),
        "few": lambda rng: number(rng.randint(2, 9)),
        "on_off": ["ein", "aus"],
        "open_close": ["öffne", "schließe"],
        "up_down": ["lauter", "leiser"],
        "weather": words(
            "regnen, schneien, sonnig sein, kalt sein, windig sein, warm sein, frieren, neblig sein"
        ),
        "phrase": words(
            "guten Tag, gute Nacht, danke schön, bitte, wo ist der Bahnhof, guten Morgen, wie geht es dir"
        ),
        "news": words(
            "meine Nachrichten, meine E-Mails, die Neuigkeiten, meinen Kalender, die Einkaufsliste,"
            "meine Notizen, meine Erinnerungen"
        ),
        "message": [
            "dass ich später komme",
            "dass ich gleich zu Hause bin",
            "dass das Essen fertig ist",
            "dass wir uns um {clock} treffen",
            "dass der Zug Verspätung hat",
            "dass wir {grocery} brauchen",
            "dass ich im Büro bin",
            "dass alles in Ordnung ist",
        ],
    },
    statements=[
        "schalte {device} {room} {on_off}",
        "schalte bitte {device} {on_off}",
        "mach {device} {room} {on_off}",
        "stelle das Licht {room} auf {colour}",
        "dimme das Licht {room} auf {number} Prozent",
        "stelle die Temperatur {room} auf {degrees} Grad",
        "stelle {device} auf {number} Prozent",
        "{open_close} {opening}[ {room}]",
        "{open_close} {opening} um {clock}",
        "verriegele {opening}[ um {clock}]",
        "stelle einen Wecker auf {clock}[ am {day}]",
        "weck mich um {clock}[ am {day}]",
        "erinnere mich in {duration} daran, {chore}",
        "erinnere mich am {day} daran, {chore}",
        "erinnere mich um {clock} daran, {chore}",
        "setze {grocery} auf die Einkaufsliste",
        "setze {grocery} und {grocery} auf die Einkaufsliste",
        "streiche {grocery} von der Einkaufsliste",
        "wir brauchen noch {grocery} und {grocery}",
        "spiele {music}[ {room}]",
        "spiele das nächste Lied von {name}",
        "mach {medium} {up_down}",
        "stelle die Lautstärke auf {number}",
        "ruf {person} an",
        "ruf um {clock} {person} an",
        "schreib {name}, {message}",
        "sag {name}, {message}",
        "bestelle einen Tisch für {few} Personen um {clock}",
        "bestelle ein Taxi {place} für {clock}",
        "suche einen Flug nach {city} am {ordinal} {month}",
        "suche einen Zug von {city} nach {city}[ am {day}]",
        "plane {event} mit {name} am {day} um {clock}",
        "verschiebe {event} von {day} auf {day}",
        "sag {event} am {day} ab",
        "lösche alle Wecker[ für {day}]",
        "der Code lautet {digits}",
        "meine Zimmernummer ist {large}",
        "starte {machine} in {duration}",
        "starte {machine} um {clock}",
        "fahr die Rollläden {room} herunter",
        "erhöhe die Temperatur {room} um {few} Grad",
        "zeig mir das Rezept für {dish}",
        "zeig mir die Kamera {room}",
        "bring mich {place}",
        "der Termin beginnt um {clock} und endet um {clock}",
        "halte {medium} an",
        "lies {news} vor",
        "aktiviere den {mode}[ {room}]",
        "leg {grocery} und {grocery} in den Kühlschrank",
        "{name} wohnt in {city} und {name} wohnt in {city}",
        "ich fahre {when} {place}",
    ],
    questions=[
        "wie wird das Wetter {when} in {city}",
        "wird es {when} in {city} {weather}",
        "wie spät ist es in {city}",
        "wie viele Tage sind es noch bis {day}",
        "wie viel {grocery} haben wir noch",
        "wie weit ist es von {city} nach {city}",
        "wann ist mein nächster Termin[ mit {name}]",
        "wie viel ist {number} plus {number}",
        "wie viel ist {number} minus {number}",
        "wie viel ist {number} mal {few}",
        "was heißt {phrase} auf {language}",
        "ist {opening} offen",
        "hat {name} angerufen",
        "hat {name} um {clock} angerufen",
        "wie komme ich am schnellsten {place}",
        "wie lange dauert der Weg {place}",
        "wer kommt am {day} zum Essen",
    ],
    interjections=words(
        "ja, nein, halt, bitte, danke schön, abbrechen, vergiss es, guten Morgen, gute Nacht, hallo,"
        "in Ordnung, Hilfe, weiter, noch einmal, lauter, natürlich"
    ),
    joints=[" und ", ", "],
    lexicon=_LEXICON,
)
