"""Noun -> classes of COCO, which a detector of a fixed list of classes can find.

Three tables, in this order: other words for a class (a swan is a bird); names of several classes
(an animal is any of ten); and nouns outside COCO with the classes that look like them. A detector
takes the nearest shape that it was trained on: a camel is a horse to it, a fox a dog.
"""

from rvos.nouns.words import ACTIONS

# Lin et al. 2014, the 80 classes of the detection task in their order.
CLASSES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat"),
    *("dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack"),
    *("umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball"),
    *("kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket"),
    *("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair"),
    *("couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse"),
    *("remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier"),
    *("toothbrush",),
)

# Other words for a class, and kinds of it.
_SYNONYMS = {
    "person": """
        man woman boy girl child kid baby toddler infant lady guy gentleman adult teenager people
        human pedestrian athlete cyclist biker motorcyclist bicyclist skier golfer goalkeeper
        goalie referee umpire jockey soldier policeman police officer worker artist musician
        guitarist pianist drummer singer teacher student actor model bride groom couple crowd
        passenger pilot sailor farmer cowboy gymnast acrobat boxer kitesurfer skateboarder
        snowboarder paraglider mother father mom dad son daughter brother sister friend parent
        someone somebody bmxer trainer coach judge tourist hiker chef doctor nurse king""",
    "bicycle": "bike cycle bmx tandem tricycle unicycle",
    "car": "automobile sedan suv jeep taxi cab hatchback coupe convertible minivan racecar pickup",
    "motorcycle": "motorbike scooter moped motocross vespa",
    "airplane": "aeroplane plane aircraft jet airliner glider",
    "bus": "coach minibus trolleybus",
    "train": "locomotive tram subway wagon carriage",
    "truck": "lorry van trailer semitrailer pickup firetruck",
    "boat": "ship sailboat canoe kayak yacht ferry raft gondola vessel rowboat motorboat",
    "bird": """
        swan duck goose duckling gosling chicken hen rooster chick parrot pigeon dove eagle hawk
        falcon owl penguin flamingo crow raven sparrow seagull gull ostrich peacock turkey stork
        heron pelican crane swallow robin budgie parakeet cockatoo vulture blackswan mallard""",
    "cat": "kitten kitty tomcat",
    "dog": "puppy pup hound poodle terrier retriever labrador husky dalmatian bulldog chihuahua",
    "horse": "pony foal mare stallion colt donkey mule",
    "sheep": "lamb ram ewe",
    "cow": "bull calf ox cattle buffalo bison yak heifer",
    "bear": "panda cub",
    "backpack": "rucksack bag",
    "umbrella": "parasol",
    "handbag": "purse bag",
    "suitcase": "luggage bag",
    "frisbee": "disc",
    "skis": "ski",
    "sports ball": "ball football basketball volleyball soccer baseball",
    "kite": "parachute paraglider",
    "skateboard": "longboard board",
    "surfboard": "board",
    "snowboard": "board",
    "tennis racket": "racket racquet paddle",
    "cup": "mug glass",
    "wine glass": "glass",
    "chair": "armchair stool seat",
    "couch": "sofa settee",
    "potted plant": "plant flowerpot",
    "dining table": "table desk",
    "tv": "television monitor screen",
    "laptop": "computer notebook",
    "cell phone": "phone mobile smartphone telephone cellphone",
    "remote": "controller",
    "refrigerator": "fridge",
    "donut": "doughnut",
    "teddy bear": "teddy toy doll",
    "stop sign": "sign",
}
_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe")
_VEHICLES = ("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat")
_HOOFED = ("horse", "cow", "sheep", "giraffe", "zebra", "elephant")  # long legs, heavy body
_BEASTS = ("dog", "cat", "bear")  # paws, short neck
# Words for several classes, and nouns outside COCO: which classes look like them, and why.
_SEVERAL = {
    "animal": _ANIMALS,
    "pet": ("cat", "dog", "bird"),
    "creature": _ANIMALS,
    "vehicle": _VEHICLES,
    "bear": ("bear",),
    "mouse": ("mouse", "cat", "dog"),  # the animal, or the computer's
    **dict.fromkeys(("camel", "deer", "goat", "antelope", "gazelle", "llama", "alpaca"), _HOOFED),
    **dict.fromkeys(("elk", "moose", "reindeer", "rhino", "rhinoceros", "hippo"), _HOOFED),
    **dict.fromkeys(("hippopotamus", "pig", "piglet", "boar"), (*_HOOFED, "bear", "dog")),
    **dict.fromkeys(("fox", "wolf", "lion", "lioness", "tiger", "leopard", "cheetah"), _BEASTS),
    **dict.fromkeys(("panther", "puma", "jaguar", "lynx", "hyena", "coyote", "raccoon"), _BEASTS),
    **dict.fromkeys(("rabbit", "bunny", "hare", "squirrel", "rat", "hamster"), _BEASTS),
    **dict.fromkeys(("otter", "ferret", "badger", "kangaroo", "koala", "beaver"), _BEASTS),
    **dict.fromkeys(("seal", "walrus"), ("bear", "dog", "bird")),  # smooth and without legs
    # Upright with arms; a network of COCO says person or bear.
    **dict.fromkeys(("monkey", "ape", "gorilla", "chimpanzee", "orangutan"), ("person", *_BEASTS)),
    **dict.fromkeys(("helicopter", "drone"), ("airplane",)),  # what else flies and is of metal
    **dict.fromkeys(("kart", "quad", "tractor", "buggy", "tank"), ("car", "truck", "motorcycle")),
    **dict.fromkeys(("wheelchair", "stroller", "pushchair"), ("bicycle", "chair")),  # wheels, seat
    **dict.fromkeys(("object", "thing", "something", "target"), CLASSES),
}
_OF_WORD: dict[str, tuple[str, ...]] = {}
for _name, _words in _SYNONYMS.items():
    for _word in _words.split():
        _OF_WORD[_word] = (*_OF_WORD.get(_word, ()), _name)
for _name in CLASSES:
    _OF_WORD.setdefault(_name, (_name,))
    _OF_WORD.setdefault(_name.rpartition(" ")[2], (_name,))


def classes_of(noun: str) -> tuple[int, ...]:
    """Positions in `CLASSES` of what a noun (a singular, in lower case) may be; () for none.

    Of a hyphenated noun, or of one with several words, the last part counts where the whole is not
    known. A word for who does something ("skater") is a person.
    """
    for word in (noun, noun.rpartition("-")[2], noun.rpartition(" ")[2]):
        names = _SEVERAL.get(word) or _OF_WORD.get(word)
        if not names and _is_who_does(word):
            names = ("person",)
        if names:
            return tuple(sorted(CLASSES.index(name) for name in names))
    return ()


def broader(noun: str) -> str | None:
    """A word for more than the noun: a puppy is a dog, a dog an animal; None if none is known."""
    if noun in CLASSES:
        return "animal" if noun in _ANIMALS else "vehicle" if noun in _VEHICLES else None
    classes = classes_of(noun)
    return CLASSES[classes[0]] if len(classes) == 1 else None


def _is_who_does(word: str) -> bool:
    if word.endswith(("man", "woman", "boy", "girl", "person")):
        return True
    if not word.endswith("er") or word in ("roller", "cover"):
        return False
    stem = word[:-2]  # jump-er, danc(e)-er, run(n)-er
    return stem in ACTIONS or f"{stem}e" in ACTIONS or stem[:-1] in ACTIONS
