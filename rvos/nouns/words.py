"""Word lists of the noun rules: closed classes, and open ones that a dictionary cannot decide.

All words are in lower case. The last lists combine others for the conditions in rules.py.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ARTICLES = _words("a an the")
POSSESSIVES = _words("my your his her its our their")
NUMBERS = _words("""
    two three four five six seven eight nine ten eleven twelve twenty thirty several many few both
    these those multiple various numerous""")
DETERMINERS = (
    ARTICLES
    | POSSESSIVES
    | NUMBERS
    | _words("""
    this that some any no each every all either neither another one which whichever what such
    same""")
)
OBJECT_MARKS = (
    ARTICLES
    | POSSESSIVES
    | _words(  # what opens a verb's object
        "another him them it itself himself herself themselves each"
    )
)
SINGULAR = _words("a an one this that each every another either neither whichever")
PREPOSITIONS = _words("""
    about above across after against along alongside amid among around as at before behind below
    beneath beside besides between beyond by despite down during except facing following for from
    in inside into like near off on onto opposite out outside over past per since through
    throughout to toward towards under underneath until up upon via with within without""")
CLOSED = _words("""
    is are was were be been being am has have had having does do did isn't aren't wasn't doesn't
    don't can could will would may might must shall should who whom whose that which where when
    while then than because so if although though whether i you he she it we they me him them us
    itself himself herself themselves something anything everything nothing others ones it's he's
    she's who's there""")
ADVERBS = _words("""
    very quite really too rather more most less least almost nearly always never not non just only
    also already now soon later again once twice here together away forward forwards backward
    backwards sideways ahead apart aside upside upright instead still well even away back""")
SPATIAL = _words("""
    left right front back rear top bottom middle center centre upper lower far near central
    leftmost rightmost left-most right-most topmost foreground background""")
MODIFIERS = SPATIAL | _words("""
    first second third fourth fifth sixth last next final other single only sole main whole entire
    black white red green blue yellow brown grey gray pink purple golden beige dark bright colored
    big small little large huge tiny long short tall high low wide thin thick fat slim heavy
    young old older oldest elder eldest new fast slow quick quiet still calm wild tame close
    closest nearer nearest opposite alone round flat empty full open closed wet dry hot
    cold warm soft hard loose tight pretty dead alive live bare bold clean dirty double real
    fake""")
COLLECTIVES = _words("""
    group groups pair pairs couple herd flock bunch pack crowd school swarm number lot lots set
    row line series team family litter colony trio dozen dozens hundreds half rest majority plenty
    variety cluster troop shoal pod gaggle type kind sort piece pieces member members part""")
NOUNS_IN_ING = _words("""
    building painting drawing clothing railing ceiling wedding pudding bedding earring carving
    crossing sibling duckling gosling""")
LIKE_PARTICIPLES = _words("moped bed sled shed seed king ring string")  # nouns
# Verbs of action and motion whose plain and -s forms are rarely nouns in expressions.
ACTIONS = _words("""
    walk jump run move turn stand sit fly fall roll swim climb eat look play ride stop start spin
    crawl hop leap dance chase follow push pull carry hold throw catch kick hit lift raise wave
    rotate lie lean bend sleep wait pass enter leave approach return rise sink dive float drift
    glide graze feed bite lick scratch bark fight wrestle hug kiss touch grab pick put take give
    hide peek stretch wander rush dash sprint march trot gallop charge flap spread shoot dribble
    bounce tumble hunt attack yawn smile laugh talk speak cry sing clap nod squat kneel crouch
    stay keep go come get make appear disappear emerge collapse tilt reverse overtake use wear
    drive skate jog stroll sniff shake swing slide step land head""")
NOUNS_TOO = _words("shake swing slide step land head ride hit jump dive")  # as "water slide"
DIRECTIONS = _words("""
    away back forward forwards backward backwards into onto toward towards past along""")
PAST_FORMS = _words("""
    hit cut fell shot bit put broke left held led ran sat stood went flew stuck hurt""")
ANIMATE = _words("""
    person man woman boy girl child kid baby lady guy player rider adult dog cat puppy kitten
    horse cow bull calf sheep goat lamb pig bird duck goose swan chicken hen rooster parrot
    pigeon eagle owl penguin fish shark whale dolphin turtle tortoise frog lizard snake monkey
    ape gorilla panda bear tiger lion leopard elephant giraffe zebra deer fox wolf rabbit
    squirrel mouse rat hamster kangaroo camel donkey otter seal insect bee spider crab""")
MASS_OBJECTS = _words("""
    grass food water hay bamboo leaves lunch meat fruit hands tennis golf hockey chess cards
    guitar piano violin drums games""")
PLURAL_MODIFIERS = _words("sports clothes glasses goods arms news")
REQUESTS = _words("""
    find show segment track locate identify select highlight detect mark spot follow""")
PEOPLE = _words("someone somebody anyone anybody everyone everybody")
LEMMAS = {
    "people": "person",
    "persons": "person",
    "leaves": "leaf",
    "dice": "dice",
    "men": "man",
    "women": "woman",
    "children": "child",
    "mice": "mouse",
    "police": "police",
    **dict.fromkeys(PEOPLE, "person"),
    **{
        word: word
        for word in _words("""
              sunglasses goggles scissors pants trousers jeans shorts clothes binoculars pajamas
              species series""")
    },
}
BREAK = _words(', ; : ( ) / " ! ?')
NEVER_NOUNS = (
    CLOSED | DETERMINERS | PREPOSITIONS | ADVERBS | MODIFIERS | BREAK | _words("and or but of n't")
)
OPENING = ARTICLES | NUMBERS  # begins a noun phrase behind a comma
DIRECTED = PREPOSITIONS | ADVERBS | BREAK | {"", "and"}  # what follows a verb of motion
AFTER_OPENING_VERB = DIRECTED | SPATIAL | OBJECT_MARKS
NOT_OWNED = DETERMINERS | CLOSED | {"not", ""}
BARE_ADJECTIVES = MODIFIERS - SPATIAL
ONLY_ACTIONS = ACTIONS - NOUNS_TOO
AFTER_PARTICIPLE = DETERMINERS | PREPOSITIONS | {""}  # ends "jumping over ...", names no one
PASSED_OVER = BREAK | MODIFIERS | ADVERBS | {"and", "or", "but", "of"}
