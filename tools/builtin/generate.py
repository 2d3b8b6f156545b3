# SPDX-License-Identifier: MIT
"""Generate children's stories from a small story-world grammar, with requests that fit them.

Every story picks a schema (schemas.py) or a plot that serves a request (plots.py), fills its slots with characters,
things and places (lexicon.py) and expands the text.  Output: JSON lines {"text": story, "topics": [...]}, for a plot also
"plot": true; a topic completes the request "Tell me a story about ...".
"""

import argparse
import json
import multiprocessing
import random
import re

import lexicon as lx
from plots import OPENERS, PLOTS
from schemas import PAST, RULES, SCHEMAS

VOWEL = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])(?!uni|use|one\b|Uni)")
CHOICE = re.compile(r"\[([^\[\]]*)\]")
CALL = re.compile(r"<(\w+)((?: \w+)*)>")
SLOT = re.compile(r"\{(\w+)(?:\.(\w+))?\}")


def article(phrase):
    return VOWEL.sub(r"\1n ", "a " + phrase)


def capital(text):
    return text[0].upper() + text[1:]


def plural(noun):
    for end, more in (("mouse", "mice"), ("goose", "geese"), ("man", "men"), ("sheep", "sheep"), ("wolf", "wolves"), ("fish", "fish"), ("deer", "deer")):
        if noun.endswith(end) and noun != "human":
            return noun[:-len(end)] + more
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def table(text, rng):
    return rng.choice(text.strip().split("\n")).split("|")


class Slot:
    """A named thing in the story: str() is its plain form, attributes are its other forms."""

    def __init__(self, plain, **forms):
        self.plain = plain
        self.__dict__.update(forms)

    def __str__(self):
        return self.plain


class Who(Slot):
    def __init__(self, name, kind, gender, trait, first_person=False, named=True):
        he, him, his = {"m": ("he", "him", "his"), "f": ("she", "her", "her")}[gender]
        label = name if named else f"the {kind}"
        if first_person:
            label, he, him, his = "I", "I", "me", "my"
        super().__init__(label, name=name if named else kind.capitalize(), kind=kind, trait=trait, gender=gender,
                         he=he, him=him, his=his, He=he.capitalize(), His=his.capitalize(), first_person=first_person,
                         himself={"he": "himself", "she": "herself", "I": "myself"}[he], named=named,
                         s="my" if first_person else label + "'s",
                         voc="my dear" if first_person else name if named else kind)
        self.an = article(f"{trait} {kind}")
        self.a0 = article(kind)


def pseudo_word(rng):
    return "".join(rng.choice(lx.SYLLABLES) for _ in range(rng.choice([1, 2]))) + rng.choice(lx.SYLLABLE_ENDS)


def pick_who(rng, child=0.5, taken=(), kinds=None, naming=0.72):
    """A character whose name and kind are not in `taken`."""
    while True:
        roll, gender, named = rng.random(), rng.choice("mf"), True
        if roll < child and not kinds:
            kind = "girl" if gender == "f" else "boy"
        else:
            roll = rng.random()
            if roll < 0.60:
                kind = rng.choice(lx.ANIMALS)
            elif roll < 0.66:
                kind = rng.choice(lx.WATER_ANIMALS)
            elif roll < 0.82:
                kind = rng.choice(lx.CREATURES)
            elif roll < 0.985:
                kind = rng.choice(lx.PEOPLE)
            else:
                kind = pseudo_word(rng)
            if kinds:
                kind = rng.choice(kinds.split("|"))
            gender = "f" if kind in lx.FEMALE | {"girl"} else "m" if kind in lx.MALE | {"boy"} else gender
            named = kind in ("girl", "boy") or rng.random() < naming
        human = kind in ("girl", "boy") or kind in lx.PEOPLE
        if rng.random() < 0.08:
            name = pseudo_word(rng).capitalize()
        elif human or rng.random() < 0.4:
            name = rng.choice(lx.GIRLS if gender == "f" else lx.BOYS)
        else:
            name = rng.choice(lx.PET_NAMES)
        trait = rng.choice(lx.TRAITS)
        if kind in ("girl", "boy") and trait == "old":
            trait = "kind"
        if kind.startswith("old "):
            trait = rng.choice(["kind", "funny", "lonely", "clever", "quiet"])
        if kind not in ("girl", "boy") and kind in taken or name in taken:
            continue
        return Who(name, kind, gender, trait, named=named)


def pick_elder(rng, hero):
    if hero.kind in ("girl", "boy"):
        kind, gender = rng.choice([("Mom", "f"), ("Mom", "f"), ("Dad", "m"), ("Grandma", "f"), ("Grandpa", "m")])
        name = kind
    else:
        family = [("mother", "f"), ("mother", "f"), ("father", "m"), ("grandma", "f"), ("aunt", "f"), ("uncle", "m")]
        kind, gender = rng.choice([("sister", "f"), ("brother", "m")] if hero.kind in lx.PEOPLE else family)
        name = f"{hero.his} {kind}"
    return Who(name, kind, gender, "kind")


def pick_helper(rng, taken):
    while True:
        phrase = rng.choice(lx.HELP_ANIMALS) if rng.random() < 0.3 else rng.choice(
            ["little", "small", "young", "kind", "tiny", "old", "gray", "friendly"]) + " " + rng.choice(lx.ANIMALS)
        kind = phrase.split()[-1]
        if kind not in taken:
            break
    helper = Who(kind.capitalize(), kind, rng.choice("mf"), phrase.split()[0], named=False)
    helper.a, helper.a0 = article(phrase), article(phrase)
    helper.A = helper.a.capitalize()
    return helper


PORTABLE = {"air", "toy", "soft", "music", "quiet", "art", "wear", "small", "magic", "tool", "extra"}


def pick_thing(rng, need):
    while True:
        if need in ("portable", None) and rng.random() < 0.3:
            row = [rng.choice(lx.EXTRA_THINGS), "extra", "played with it", "-", "-"]
        elif need == "breaks" and rng.random() < 0.2:
            row = [rng.choice(lx.EXTRA_THINGS), "extra", "played with it", "it broke", "put it back together"]
        else:
            row = table(lx.THINGS, rng)
        name, kind, use, breaks, mend = row
        if need is None or need == kind or need == "portable" and kind in PORTABLE or need == "breaks" and breaks != "-":
            break
    look = rng.choice(lx.COLORS if rng.random() < 0.5 else lx.LOOKS)
    if name.startswith(("magic", "toy", "teddy", "golden", "big", "little")) or rng.random() < 0.15:
        look = rng.choice(lx.COLORS) if rng.random() < 0.3 else ""
    full = f"{look} {name}".strip()
    the = f"the {full}" if rng.random() < 0.2 else f"the {name}"
    return Slot(name, full=full, a=article(full), the=the, The=capital(the), kind=kind, use=use, breaks=breaks, mend=mend,
                usethey=use.replace("{H.his}", "their").replace(" head", " heads"))


def pick_any_thing(rng):
    roll = rng.random()
    if roll < 0.07:
        name = pseudo_word(rng)
    elif roll < 0.55:
        name = rng.choice(lx.COMMON_THINGS)
    elif roll < 0.65:
        name = table(lx.THINGS, rng)[0]
    else:
        name = rng.choice(lx.MORE_THINGS if roll < 0.85 else lx.EXTRA_THINGS)
    look = "" if rng.random() < 0.4 or " " in name else rng.choice(lx.COLORS if rng.random() < 0.5 else lx.LOOKS)
    full = f"{look} {name}".strip()
    the = f"the {full}" if rng.random() < 0.2 else f"the {name}"
    return Slot(name, full=full, a=article(full), a0=article(name), the=the, The=capital(the))


def pick_place(rng, more=0.0):
    noun, preposition, detail = table(lx.MORE_PLACES if rng.random() < more else lx.PLACES, rng)
    the = f"the {noun}"
    return Slot(the, noun=noun, a=the if noun in ("moon", "sea", "north pole") else article(noun), **{"in": f"{preposition} {the}"}, to=f"to {the}", detail=detail[0].lower() + detail[1:], Detail=detail)


FIRST_PERSON = {"lost thing", "storm", "first snow", "exploring", "growing a plant", "building", "cooking", "broken thing", "ride",
                "flying thing", "strange noise", "cannot sleep", "homemade gift", "getting lost", "learning a skill", "share toy"}


def pick_plot_slots(rng, plot):
    """The slots that the request decides replace those of an ordinary story."""
    slots = pick_slots(rng, plot)
    hero = pick_who(rng, child=0.25, naming=0.5)
    if "trait" in plot:
        hero.trait = plot["trait"]
        hero.an = article(f"{hero.trait} {hero.kind}")
    child = 0.02 if plot["name"] == "meeting" else 0.7 if hero.kind in ("girl", "boy") else 0.15
    taken = {hero.name, hero.kind}
    friend = pick_who(rng, child=child, taken=taken, naming=0.9 if hero.named else 0.3)
    afraid, sight, idea = rng.choice(lx.AFRAID), rng.choice(lx.SIGHTS), rng.choice(lx.IDEAS)
    skill = table(lx.MORE_SKILLS if rng.random() < 0.6 else lx.SKILLS, rng)
    slots.update({
        "H": hero, "F": friend, "E": pick_elder(rng, hero), "W": pick_helper(rng, taken | {friend.kind}),
        "T": pick_any_thing(rng), "P": pick_place(rng, 0.33), "A": Slot(afraid),
        "B": Slot(idea, First=capital(idea)), "G": Slot(sight.split(" ", 1)[1], a0=sight),
        "S": Slot(skill[0], First=capital(skill[0]), did=skill[1], doing=skill[2], where=skill[3])})
    return slots


def pick_slots(rng, schema):
    hero = pick_who(rng, child=1 if schema.get("child") else 0.5, kinds=schema.get("kinds"))
    if schema["name"] in FIRST_PERSON and hero.kind in ("girl", "boy") and rng.random() < 0.25:
        hero = Who(hero.name, hero.kind, hero.gender, hero.trait, first_person=True)
    taken = {hero.name, hero.kind}
    friend = pick_who(rng, child=1 if schema.get("child") else 0.75 if hero.kind in ("girl", "boy") else 0.15, taken=taken)
    helper = pick_helper(rng, taken | {friend.kind})
    skill = table(lx.SKILLS, rng)
    fear = table(lx.FEARS, rng)
    danger, bad = table(lx.DANGERS, rng)
    wish, result, wish_bad = table(lx.WISHES, rng)
    nature, gift = table(lx.NATURE, rng)
    dish, food = rng.choice(lx.DISHES), rng.choice(lx.FOODS)
    spots = rng.sample(lx.SPOTS, 3)
    return {
        "H": hero, "F": friend, "E": pick_elder(rng, hero), "W": helper,
        "T": pick_thing(rng, schema.get("thing")), "P": pick_place(rng),
        "S": Slot(skill[0], did=skill[1], doing=skill[2], where=skill[3]),
        "R": Slot(fear[0], When=capital(fear[1]), why=fear[2], help=article(fear[3].removeprefix("a "))),
        "D": Slot(food, a=article(food), short=food.split(" of ")[-1]),
        "dish": Slot(dish.split(" ", 1)[1], a=dish), "food2": rng.choice(lx.TREATS), "plant": rng.choice(lx.PLANTS),
        "build": rng.choice(lx.BUILDS), "monster": rng.choice([m for m in lx.MONSTERS if m not in taken]),
        "danger": Slot(danger, bad=bad, short=danger.removeprefix("the ")),
        "wish": Slot(wish if " " in wish or wish in ("invisible",) else article(wish), result=result, bad=wish_bad),
        "N": Slot(f"the {nature}", noun=nature, a=article(nature), The=f"The {nature}", gift=gift),
        "pairs": rng.choice(lx.PAIRS), "veg": rng.choice(lx.VEGETABLES), "vehicle": rng.choice(lx.VEHICLES), "job": rng.choice(lx.JOBS),
        "robot": rng.choice(lx.ROBOTS), "a_hiding": rng.choice(lx.HIDING),
        "build_thing": rng.choice(lx.MADE), "color": rng.choice(lx.COLORS), "sibling": rng.choice(["brother", "sister"]),
        "Q1": spots[0], "Q2": spots[1], "Q3": spots[2],
        "M": rng.choice(schema["moral"].split("|")),
    }


class Teller:
    """Expands the grammar for one story."""

    def __init__(self, rng, schema):
        self.rng, self.schema, self.known, self.lead = rng, schema, set(), None
        self.slots = (pick_plot_slots if "ask" in schema else pick_slots)(rng, schema)

    def call(self, match):
        rule, names = match.group(1), match.group(2).split()
        hero = self.slots["H"]
        if rule == "OPEN":
            roll = self.rng.random()
            rule = "openme" if hero.first_person else "opendirect" if roll < 0.33 else "open"
            friend = self.slots["F"]
            if roll < 0.07 and hero.named and friend.named and hero.kind != friend.kind and not hero.first_person:
                rule = "openpair"
                self.known.update("HF")
            elif roll > 0.6 and not hero.first_person:
                return self.choose(self.summary())
        elif rule == "END":
            rule = "end" if self.rng.random() < 0.7 else "endone"
        if rule == "dayl":
            day = self.choose("<day>")
            return day[0].lower() + day[1:]
        text = self.rng.choice(RULES[rule])
        for variable, name in zip("XYZ", names):
            text = re.sub(rf"(?<=\{{){variable}(?=[.}}])|(?<= ){variable}(?=[ \w]*>)", name, text)
        return self.choose(text)

    def summary(self):
        """An opening that says what the story is about."""
        self.lead = self.rng.choice(self.schema["who"].split("|"))
        first, rest = self.lead.split(" ", 1)
        start = "<once> there was" if first in ("is", "wants", "cannot", "loves", "does", "likes") else "This is the story of"
        return f"{start} {{H.a}} who {PAST.get(first, first).replace('_', ' ')} {rest}. "

    def choose(self, text):
        """Resolve [a|b] from the inside out, and rule calls as they come."""
        while True:
            text, count = CHOICE.subn(lambda m: self.rng.choice(m.group(1).split("|")), text)
            if not count:
                break
        return CALL.sub(self.call, text)

    def fill(self, match):
        slot, form = match.groups()
        value = self.slots[slot]
        if slot in "HF" and slot not in self.known:
            text = self.introduce(slot, value, form)
            if text:
                return text
        if form == "a" and slot in "HF":
            text = self.indefinite(value)
        elif form in (None, "First"):
            text = str(value)
        else:
            text = getattr(value, form)
        return SLOT.sub(self.fill, text)

    def introduce(self, slot, who, form):
        """The first time a character is named."""
        if form in ("he", "him", "his", "He", "His", "kind", "trait", "himself", "a0", "an", "voc", "name"):
            return None
        self.known.add(slot)
        if form == "a":
            return self.indefinite(who)
        if who.first_person:
            return None
        tail = "'s" if form == "s" else ""
        hero = self.slots["H"]
        if slot == "H":
            if not who.named:
                return (article(f"{who.trait} {who.kind}") if self.rng.random() < 0.5 else f"the {who.trait} {who.kind}") + tail
            if not form and self.rng.random() < 0.3:
                return self.indefinite(who)
            if who.kind in ("girl", "boy"):
                return who.name + tail
            return f"{who.name} the {who.kind}{tail}"
        if "H" in self.known or hero.first_person:
            relation = self.rng.choice(["friend", "friend", "good friend", "best friend"])
            owner = f"{hero.his} {relation} "
            if who.kind in ("girl", "boy"):
                return owner + who.name + tail
            return owner + (f"{who.name} the {who.kind}" if who.named else f"the {who.kind}") + tail
        return None

    def indefinite(self, who):
        shown = self.rng.random() < 0.75 or "trait" in self.schema and who is self.slots["H"]
        adjective = f"{who.trait} " if shown else ""
        base = article(adjective + who.kind)
        return f"{base} {self.rng.choice(['named', 'named', 'called'])} {who.name}" if who.named else base

    def tell(self):
        texts = [self.choose(p) for p in self.schema["text"]]
        if "ask" in self.schema and self.rng.random() < 0.3 and not re.match("Once|Long ago|A long|In a land", texts[0]):
            first = self.choose(self.rng.choice(OPENERS["F" if self.schema["keep"] == "F" else "any"]))
            if not (first.startswith(("One ", "It was ")) and re.match("One |On a |It was ", texts[0])):
                texts[0] = f"{first} {texts[0]}"
        paragraphs = [SLOT.sub(self.fill, p) for p in texts]
        paragraphs = [polish(p) for p in paragraphs]
        whos = [self.slots[k] for k in "HFEW"]
        if whos[0].first_person:
            paragraphs = [first_person(p) for p in paragraphs]
        else:
            paragraphs = [use_pronouns(p, whos, self.rng) for p in paragraphs]
            paragraphs[1:] = [use_kinds(p, whos, self.rng) for p in paragraphs[1:]]
        return ("\n\n" if self.rng.random() < 0.8 else " ").join(p for p in paragraphs if p)

    def called(self, who, story):
        """How a request may speak of a character, going by what the story says."""
        kind, forms = who.kind, []
        if kind in story:
            known = [f"{who.trait} {kind}" for _ in "12" if f"{who.trait} {kind}" in story]
            forms += [article(k) for k in ([kind, kind] if "trait" not in self.schema or who is not self.slots["H"] else []) + known]
            if who.named:
                forms += [f"{f} named {who.name}" for f in forms[:1]]
        if who.named and "trait" not in self.schema:
            forms.append(who.name if kind in ("girl", "boy") else f"{who.name} the {kind}")
        return self.rng.choice(forms) if forms else None

    def request(self, story):
        """What one would have asked for to hear this story; None when the story does not keep to it."""
        s, kept, rng = self.slots, self.schema["keep"], self.rng
        hero, friend, thing = s["H"], s["F"], s["T"]
        words = {"T": [thing.plain], "A": [s["A"].plain.split()[-1]], "G": [s["G"].plain], "B": [s["B"].plain], "P": [s["P"].noun],
                 "S": [s["S"].plain, s["S"].did, s["S"].doing], "trait": [hero.trait], "F": [str(friend), friend.kind]}[kept]
        if not in_thirds(words, story) or kept in "FSA" and not in_thirds([str(hero), hero.kind], story):
            return None
        if kept in "TFGP" and hero.kind in story and rng.random() < 0.05:  # cats; cats and drums
            other = [plural(thing.plain)] if kept == "T" else [plural(friend.kind)] if kept == "F" and friend.kind in story else []
            return " and ".join([plural(hero.kind)] + other)
        x, y = self.called(hero, story), self.called(friend, story)
        asks = [t for t in self.schema["ask"].split("|") if (x or "{X}" not in t) and (y or "{Y}" not in t)]
        text = rng.choice(asks).replace("{X}", x or "").replace("{Y}", y or "")
        if kept == "T" and thing.a in story and rng.random() < 0.2:
            text = text.replace("{T.a0}", "{T.a}")
        return VOWEL.sub(r"\1n ", SLOT.sub(self.fill_topic, text))

    def topics(self, story):
        """Phrases for "Tell me a story about ..." that are true of the story."""
        s, rng = self.slots, self.rng
        hero, friend, thing, place = s["H"], s["F"], s["T"], s["P"]
        out = []
        expand = lambda t: VOWEL.sub(r"\1n ", SLOT.sub(lambda m: SLOT.sub(self.fill_topic, self.fill_topic(m)), t))
        out.append(expand(rng.choice(self.schema["about"].split("|"))))
        if not hero.first_person and (hero.kind in story or hero.named and hero.name in story):
            adjective = f"{hero.trait} " if f"{hero.trait} {hero.kind}" in story else ""
            kind = article(adjective + hero.kind)
            out.append(expand(f"{kind} who " + rng.choice(self.schema["who"].split("|"))))
            out.append(expand(f"{kind} who " + rng.choice(self.schema["who"].split("|"))))
            if hero.kind not in ("girl", "boy") or rng.random() < 0.3:
                out.append(kind)
            if hero.kind not in ("girl", "boy"):
                out.append(article(hero.kind))
            if hero.named:
                out.append(f"{kind} named {hero.name}")
            if in_thirds([str(thing)], story):
                out.append(f"{kind} and {article(thing.plain if rng.random() < 0.6 else thing.full)}")
                out.append(article(thing.plain))
            if in_thirds([place.noun], story):
                out.append(f"{kind} {getattr(place, 'in')}")
            if in_thirds([str(friend)], story):
                if hero.named and friend.named:
                    out.append(f"{hero.name} and {friend.name}")
                if friend.kind in story and friend.kind not in ("girl", "boy"):
                    out.append(f"{article(hero.kind)} and {article(friend.kind)}")
                    out.append(f"{article(hero.kind)} and {article(friend.kind)}")
        out = sorted(set(out), key=lambda t: rng.random())
        if self.lead and rng.random() < 0.7:  # what the first sentence says comes first
            out.insert(0, expand(f"{kind} who {self.lead}"))
        return out

    def fill_topic(self, match):
        slot, form = match.groups()
        value = self.slots[slot]
        if slot == "H" and value.first_person and form in ("he", "him", "his"):
            return {"he": "she", "him": "her", "his": "her"}[form] if value.gender == "f" else form
        return getattr(value, form) if form else str(value)


SPEECH = re.compile(r"^(\S+ ){0,7}?(said|asked|cried|called|shouted|whispered|thought|wondered|mumbled|told|laughed|yawned|roared|answered)\b")
OBJECT_I = re.compile(r"\b(at|to|with|for|of|gave|saw|told|asked|hugged|helped|pulled|took|showed|behind|from|by|met|like|near"
                      r"|followed|let|on) I\b")
WE = {"they": "we", "them": "us", "their": "our", "themselves": "ourselves"}


def after_quote(match):
    """A sentence after a closing quote starts with a capital unless it tells who spoke."""
    sentence = match.group(2)
    return match.group(1) + (sentence if SPEECH.match(sentence) else capital(sentence))


def polish(text):
    text = re.sub(r"\s+", " ", text).strip()
    text = VOWEL.sub(r"\1n ", text)
    text = re.sub(r"(^|[.!?] )([a-z])", lambda m: m.group(1) + m.group(2).upper(), text)
    text = re.sub(r'([.!?]" )([a-z][^.!?"]*)', after_quote, text)
    text = re.sub(r'((?:^|[.!?] |: )")([a-z])', lambda m: m.group(1) + m.group(2).upper(), text)
    text = re.sub(r'([?!]),"', r'\1"', text)
    return re.sub(r"\^(\w)", lambda m: m.group(1).upper(), text)


def first_person(text):
    text = re.sub(r"\bI and ((?:my (?:best |good )?friend )?\w+(?: the \w+)?)", r"\1 and I", text)
    text = OBJECT_I.sub(r"\1 me", text)
    text = re.sub(r"\b(they|them|their|themselves)\b", lambda m: WE[m.group().lower()], text)
    text = re.sub(r"\b(They|Them|Their)\b", lambda m: WE[m.group().lower()].capitalize(), text)
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m.group(1) + m.group(2).upper(), text)


def use_pronouns(text, whos, rng):
    """Say he or she where a sentence has the same subject as the one before and nobody else is around."""
    sentences, last, out = re.split(r"(?<=[.!?]) ", text), None, []
    for sentence in sentences:
        subject = next((w for w in whos if sentence.startswith(capital(str(w)) + " ")), None)
        if subject and subject is last and rng.random() < 0.6:
            sentence = subject.He + sentence[len(str(subject)):]
        elif not subject and last and not sentence.startswith(last.He + " "):
            last = None
        if subject:
            last = subject
        if last and ('"' in sentence or any(str(w) in sentence or w.kind in sentence for w in whos if w is not last)):
            last = None
        out.append(sentence)
    return " ".join(out)


def in_thirds(words, text):
    """Whether one of the words is in each third of the text."""
    cut, pattern = len(text) / 3, "|".join(rf"\b{re.escape(w.lower())}" for w in words)
    return {min(2, int(m.start() / cut)) for m in re.finditer(pattern, text.lower())} == {0, 1, 2}


def use_kinds(text, whos, rng):
    """Now and then say the fox for Rusty, so that the kind stays in the story."""
    for who in whos[:2]:
        if who.named and who.kind not in ("girl", "boy") and not any(w.kind == who.kind for w in whos if w is not who):
            text = re.sub(rf"(?<=[.!?] ){who.name} (?=[a-z])", lambda m: f"The {who.kind} " if rng.random() < 0.3 else m.group(), text)
    return text


# so that the kinds of request come about equally often
WEIGHTS = {"T": 1, "F": 1.7, "S": 3, "A": 2.5, "P": 2, "G": 1.6, "B": 1.5, "trait": 0.6}


def requested(rng):
    """A story of plots.py with the request it answers."""
    plot = rng.choices(PLOTS, [WEIGHTS[p["keep"]] for p in PLOTS])[0]
    while True:
        teller = Teller(rng, plot)
        text = teller.tell()
        request = teller.request(text)
        if request:
            return {"text": text, "topics": [request], "schema": plot["name"], "plot": True}


def story(rng):
    if rng.random() < 0.6:
        return requested(rng)
    schema = rng.choice(SCHEMAS)
    teller = Teller(rng, schema)
    text = teller.tell()
    return {"text": text, "topics": teller.topics(text), "schema": schema["name"]}


def chunk(job):
    seed, count = job
    rng = random.Random(seed)
    return [json.dumps(story(rng)) + "\n" for _ in range(count)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    size = 500
    jobs = [(args.seed * 1000003 + i, min(size, args.count - i)) for i in range(0, args.count, size)]
    with open(args.out, "w") as out, multiprocessing.Pool() as pool:
        for lines in pool.imap(chunk, jobs):
            out.writelines(lines)


if __name__ == "__main__":
    main()
