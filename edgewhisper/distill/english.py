"""English commands for a voice assistant: word lists and sentence templates."""

import random

from .grammar import Grammar, words

_ONES = words(
    "zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen,"
    "fifteen, sixteen, seventeen, eighteen, nineteen"
)
_TENS = words("twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety")


def number(value: int) -> str:
    """The words for 0 to 999: 42 is `forty-two`, 315 is `three hundred and fifteen`."""
    if value < 20:
        return _ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")
    hundreds, rest = divmod(value, 100)
    return f"{_ONES[hundreds]} hundred" + (f" and {number(rest)}" if rest else "")


def _digits(rng: random.Random) -> str:
    return " ".join(_ONES[rng.randrange(10)] for _ in range(rng.randint(3, 6)))


def _clock(rng: random.Random) -> str:
    hour = number(rng.randint(1, 12))
    forms = [
        f"{hour} o'clock",
        f"half past {hour}",
        f"quarter past {hour}",
        f"quarter to {hour}",
        f"{hour} {number(rng.randint(10, 59))}",
        f"{hour} {number(5 * rng.randint(2, 11))}",
    ]
    when = rng.choices(forms, weights=[3, 2, 2, 2, 4, 4])[0]
    named = rng.choice(["noon", "midnight", "sunset"])
    part = rng.choice(["", "", "", " in the morning", " in the afternoon", " in the evening"])
    return named if rng.random() < 0.12 else when + part


def _duration(rng: random.Random) -> str:
    return rng.choice(
        [
            f"{number(rng.randint(2, 59))} minutes",
            f"{number(rng.randint(2, 59))} seconds",
            f"{number(rng.randint(2, 24))} hours",
            rng.choice(["an hour", "half an hour", "one minute", "a quarter of an hour"]),
            f"{number(rng.randint(2, 12))} hours and {number(rng.randint(2, 59))} minutes",
        ]
    )


_ROOMS = words(
    "kitchen, bedroom, bathroom, living room, dining room, garage, hallway, office, garden, cellar, attic,"
    "playroom, balcony, guest room, library, workshop"
)
_DEVICES = words(
    "lights, lamp, fan, heater, television, speaker, radio, air conditioner, coffee machine, dishwasher,"
    "washing machine, oven, vacuum cleaner, projector, printer, sprinkler, alarm, ceiling light, kettle,"
    "toaster, router, computer, dryer, floor lamp, fireplace"
)
_OPENINGS = words("door, window, blinds, curtains, front door, back door, gate, shutters, skylight, cat flap")
_COLOURS = words(
    "red, green, blue, yellow, purple, orange, white, pink, warm white, turquoise, silver, violet"
)
_CITIES = words(
    "London, Paris, Berlin, Madrid, Rome, Vienna, Tokyo, Chicago, Boston, Dublin, Lisbon, Oslo, Sydney,"
    "Toronto, Cairo, Athens, Denver, Seattle, Glasgow, Prague, Warsaw, Geneva, Hamburg, Munich, Zurich,"
    "Brussels, Helsinki, Manchester"
)
_DAYS = words("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
_MONTHS = words(
    "January, February, March, April, May, June, July, August, September, October, November, December"
)
_WHENS = words(
    "today, tomorrow, tonight, this evening, this weekend, this afternoon, next week, tomorrow morning,"
    "next month, on the weekend"
)
_NAMES = words(
    "Alice, Robert, Maria, David, Susan, Peter, Laura, Thomas, Emma, Daniel, Sophie, George, Helen, Martin,"
    "Julia, Oliver, Victor, Grace, Henry, Nora, Simon, Clara, Lucas, Amanda"
)
_PEOPLE = [
    *_NAMES,
    *words(
        "mum, dad, grandma, my brother, my sister, the doctor, the dentist, the office, my boss,"
        "the neighbours, the plumber"
    ),
]
_GROCERIES = words(
    "milk, bread, eggs, butter, cheese, apples, bananas, tomatoes, potatoes, onions, rice, pasta, coffee,"
    "tea, sugar, flour, chicken, fish, yogurt, orange juice, olive oil, soap, shampoo, toilet paper,"
    "chocolate, honey, carrots, lemons, salt, pepper, batteries, cat food, mushrooms, garlic, spinach,"
    "strawberries, candles, light bulbs"
)
_MUSIC = words(
    "jazz, rock, classical music, pop, country, blues, hip hop, folk music, electronic music, soul, reggae,"
    "opera, piano music, guitar music, dance music, relaxing music, film music"
)
_CHORES = words(
    "call the bank, water the plants, take out the rubbish, feed the cat, walk the dog, pay the rent,"
    "buy a present, clean the windows, pick up the children, send the report, take my medicine,"
    "book a table, charge the car, check the mail, wash the dishes, return the books, start the laundry,"
    "renew the passport, cook dinner, repair the bicycle, order the tickets, print the documents,"
    "iron the shirts, measure my blood pressure"
)
_EVENTS = words(
    "meeting, dentist appointment, birthday party, lunch, dinner, piano lesson, conference call,"
    "football game, yoga class, job interview, flight, haircut, concert, parents' evening, workshop,"
    "breakfast, theatre visit"
)
_ORDINALS = words(
    "first, second, third, fourth, fifth, sixth, seventh, eighth, ninth, tenth, eleventh, twelfth,"
    "fifteenth, twentieth, thirtieth"
)
_PLACES = words(
    "gas station, hospital, pharmacy, supermarket, restaurant, car park, bakery, museum, post office,"
    "swimming pool, railway station, airport, hotel, bookshop"
)
_MEDIA = words("music, movie, song, podcast, radio, audiobook, video, playlist, recording")
_DISHES = words(
    "pancakes, tomato soup, apple pie, chicken curry, vegetable soup, pizza, fried rice, potato salad"
)
_MODES = words("night, holiday, movie, party, morning, sleep, cleaning, energy saving, guest")

_LEXICON = sorted({
    *_ROOMS, *_DEVICES, *_OPENINGS, *_COLOURS, *_CITIES, *_DAYS, *_MONTHS, *_NAMES, *_GROCERIES, *_MUSIC, *_EVENTS,
    *_ORDINALS, *_PLACES, *_MEDIA, *_MODES, *_ONES, *_TENS,
})  # fmt: skip

ENGLISH = Grammar(
    language="en",
    slots={
        "room": _ROOMS,
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
        "place": _PLACES,
        "medium": _MEDIA,
        "dish": _DISHES,
        "mode": _MODES,
        "clock": _clock,
        "duration": _duration,
        "digits": _digits,
        "number": lambda rng: number(rng.randint(1, 99)),
        "large": lambda rng: number(rng.randint(100, 999)),
        "degrees": lambda rng: number(rng.randint(12, 30)),
        "few": lambda rng: number(rng.randint(2, 9)),
        "on_off": ["on", "off"],
        "up_down": ["up", "down"],
        "mood": words("happy, slow, old, new, loud, quiet, famous, popular, cheerful"),
        "weather": words("rain, snow, be sunny, be cold, be windy, be warm, freeze, be foggy"),
        "language": words("French, German, Spanish, Italian, Japanese, Portuguese, Polish, Swedish"),
        "phrase": words(
            "hello, good night, thank you, please, where is the station, good morning, how are you"
        ),
        "machine": words(
            "dishwasher, washing machine, coffee machine, vacuum cleaner, oven, sprinkler, dryer"
        ),
        "news": words("messages, emails, news, calendar, shopping list, notes, reminders"),
        "message": [
            "I am late",
            "I will be home soon",
            "dinner is ready",
            "see you at {clock}",
            "call me back",
            "I am at the {place}",
            "happy birthday",
            "thank you",
            "we need more {grocery}",
            "the train is late",
        ],
    },
    statements=[
        "turn {on_off} the {device}[ in the {room}]",
        "turn {on_off} the {device} in the {room}",
        "switch {on_off} the {room} {device}",
        "set the {room} lights to {colour}",
        "dim the {room} lights to {number} percent",
        "set the temperature in the {room} to {degrees} degrees",
        "set the {device} to {number} percent",
        "open the {opening}[ in the {room}]",
        "close the {opening}[ in the {room}]",
        "lock the {opening}[ at {clock}]",
        "unlock the {opening}",
        "set a timer for {duration}",
        "set an alarm for {clock}[ on {day}]",
        "wake me up at {clock}[ on {day}]",
        "remind me to {chore} at {clock}",
        "remind me to {chore} {when}",
        "remind me to {chore} in {duration}",
        "remind me on {day} to {chore}",
        "add {grocery} to the shopping list",
        "add {grocery} and {grocery} to my shopping list",
        "remove {grocery} from the shopping list",
        "we need {few} {grocery} and some {grocery}",
        "play some [{mood} ]{music}[ in the {room}]",
        "play the next {medium}",
        "play the {ordinal} song by {name}",
        "turn the volume {up_down} to {number}",
        "call {person}[ at {clock}]",
        "send a message to {person} saying {message}",
        "tell {person} that {message}",
        "book a table for {few} people at {clock}",
        "book a taxi to the {place} for {clock}",
        "find a flight to {city} on {month} {ordinal}",
        "find a train from {city} to {city}[ on {day}]",
        "schedule a {event} with {name} on {day} at {clock}",
        "move the {event} from {day} to {day}",
        "cancel the {event}[ on {day}]",
        "cancel all alarms[ for {when}]",
        "the code is {digits}",
        "my room number is {large}",
        "start the {machine} in {duration}",
        "start the {machine} at {clock}",
        "lower the blinds in the {room}[ by {number} percent]",
        "raise the temperature in the {room} by {few} degrees",
        "show me the recipe for {dish}",
        "show me the camera in the {room}",
        "navigate to the nearest {place}",
        "the {event} starts at {clock} and ends at {clock}",
        "pause the {medium}[ in the {room}]",
        "skip the {medium}",
        "read my {news}[ from {day}]",
        "activate {mode} mode[ in the {room}]",
        "put the {grocery} in the fridge[ for {duration}]",
        "paint the {room} {colour} and the {room} {colour}",
        "{name} lives in {city} and {name} lives in {city}",
    ],
    questions=[
        "what is the weather like in {city} {when}",
        "will it {weather} in {city} {when}",
        "what time is it in {city}",
        "how many days are left until {day}",
        "how many {grocery} do we have left",
        "how far is it from {city} to {city}",
        "when is my next {event}[ with {name}]",
        "what is {number} plus {number}",
        "what is {number} minus {number}",
        "what is {number} times {few}",
        "how do you say {phrase} in {language}",
        "is the {opening} open[ in the {room}]",
        "is the {device} on[ in the {room}]",
        "did {person} call[ at {clock}]",
        "where is the nearest {place}",
        "who is coming to the {event} on {day}",
        "how long does it take to the {place}",
    ],
    interjections=words(
        "yes, no, stop, please, thank you, cancel, never mind, good morning, good night, hello, okay,"
        "help, continue, repeat that, louder, of course"
    ),
    joints=[" and ", " and then ", ", then ", ", after that "],
    lexicon=_LEXICON,
)
