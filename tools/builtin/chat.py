# SPDX-License-Identifier: MIT
"""Turn generated stories into training documents: raw stories, story requests with answers, and small talk.

Input: the JSON lines of generate.py and teachers.py.  Output: JSON lines {"part": story|chat|short|talk|teacher, "text": ...}
with the chat markup in place.
"""

import argparse
import json
import random
import re
from collections import Counter

import lexicon as lx

USER, ASSISTANT, SYSTEM, END = "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_start|>system\n", "<|im_end|>\n"

REQUESTS = """Tell me a story about {X}.|Tell me a story about {X}.|Tell me a story about {X}.|Tell me a story about {X}.
Tell me a short story about {X}.|Write a short story about {X}.|Write a short story about {X}.|Write a story about {X}.
Can you tell me a story about {X}?|Could you tell me a story about {X}?|Can you write a story about {X}?
Please tell me a story about {X}.|Please write a little story about {X}.|I want a story about {X}.|I want to hear a story about {X}.
I would like a story about {X}, please.|A story about {X}, please.|A story about {X}.|Story about {X}.|Make up a story about {X}.
Do you know a story about {X}?|Tell me a bedtime story about {X}.|Write me a story about {X}.|Give me a story about {X}.
Tell me about {X}.|Tell us a story about {X}.|Let us hear a story about {X}.|Create a story about {X}.|{X}
Tell me a tale about {X}.|Write a tale about {X}.|Write a little story for kids about {X}.|How about a story about {X}?
Write a story with {X}.|Tell me a story with {X}.|Tell me a story with {X} in it.|A story with {X}.|Tell a story about {X}.|Write me a short story about {X}.
Tell me a short story with {X}.|Please tell me a story about {X}.|Now tell me a story about {X}.|Tell me another story about {X}.|{X}, please.""".replace("\n", "|").split("|")
OPEN_REQUESTS = """Tell me a story.|Tell me a story.|Tell me a story.|Tell me a story please.|Write a story.|Write a short story.|Can you tell me a story?
A story, please.|Please tell me a bedtime story.|I want a story.|Tell me something nice.|Surprise me with a story.|Do you know any stories?
I am bored.|Tell me another story.|One more story, please.|Story time!|I cannot sleep. Tell me a story.|Make up a story.
Once upon a time|Tell me a nice story for my children.|story|Go on, tell me a story!""".replace("\n", "|").split("|")
CONTINUE = ["Continue this story: {X}", "Continue: {X}", "Please go on: {X}", "Finish this story: {X}", "What happens next? {X}"]
SYSTEMS = ["You are a helpful assistant.", "You are a helpful assistant.", "You tell stories to children.", "You are a storyteller.",
           "You are a kind assistant who tells short stories.", "Be brief and friendly."]

SELF = ["I am the tiny story model built into slm, and I can tell you little stories.",
        "I am a tiny story model built into slm. I only tell little stories."]
ASKS_SELF = """Who are you?|Who are you?|What are you?|What is your name?|What's your name?|Are you a robot?|Are you a person?|Are you human?
Tell me about yourself.|What can you do?|What can you do for me?|Introduce yourself.|Who made you?|Are you ChatGPT?|Which model are you?
What model is this?|How old are you?|Are you an AI?|What is slm?|Can you help me?|What do you do?|who r u|help""".replace("\n", "|").split("|")
GREETINGS = """Hi|Hi!|Hello|Hello!|Hey|Hey there|Good morning!|Good evening|Hi there!|hello there|Hello, how are you?|How are you?
How are you today?|Hi, who is there?|Good night|Yo|Hiya|Greetings|What's up?""".replace("\n", "|").split("|")
GREET_BACK = ["Hello! Would you like a story? Ask me for one about {X}.", "Hi! I can tell you a little story, maybe one about {X}?",
              "Hello, my friend! Shall I tell you a story about {X}?"]
THANKS = "Thank you!|Thanks|Thank you so much|That was nice.|I liked that story.|Great story!|Nice!|Good job|ok|Okay|Yes|Cool".split("|")
THANKS_BACK = ["You are welcome! Would you like another story, maybe one about {X}?", "I am glad! Next I could tell you a story about {X}."]
BYES = "Bye|Goodbye!|Bye bye|See you|Good night!|I have to go now.|See you tomorrow!".split("|")
BYES_BACK = ["Goodbye! Come back soon for another story.", "Bye! Sleep well and dream of happy stories."]
SAD = "I am sad.|I feel sad today|I had a bad day.|I am lonely.|I am scared.|I feel bad.|I am tired.|I am angry.|My friend is mean to me.".split("|")
SAD_BACK = ["I am sorry to hear that. A story can help. Ask me for one about {X}.", "Oh, I am sorry. Would a little story about {X} make you smile?"]
QUESTIONS = """What is {A}?|What is the capital of {C}?|How does {A} work?|Who invented the {N}?|How do I fix my {N}?|How much is a {N}?|What is {n} plus {m}?
What is {n} times {m}?|{n} + {m}|{n} * {m} = ?|Write a Python program that counts to {n}.|Write code for a {N}.|Translate {N} into French.|Where is {C}?|Where can I buy a {N}?
Why is the sky blue?|What time is it?|What day is today?|What is the weather like in {C}?|Who is the president of {C}?|How many people live in {C}?
Explain how a {N} works.|Give me a recipe for {F}.|How do I cook {F}?|What is the meaning of life?|Tell me a joke.|Sing a song.|Can you do math?
Is {C} bigger than {C2}?|Which is better, a {N} or a {N2}?|Summarize this text for me.|Write an email to my boss.|What is the largest {K}?
How long does a {K} live?|What does a {K} eat?|Do you like {F}?|How far is the moon?|What is machine learning?|Solve this: {n} - {m}|Who won the game?
Plan a trip to {C}.|Spell {N}.|How do you say {N} in Spanish?|When was {C} founded?|List {n} facts about {C}.|What is HTML?|Define {N}.|Can you draw a {K}?
Is it true that a {K} can fly?|Recommend a book.|What should I eat today?|Write a poem about {A}.|Fix this bug.|How do I install Linux?""".replace("\n", "|").split("|")
COUNTRIES = "France, Spain, Italy, Germany, Japan, China, India, Brazil, Canada, Mexico, Egypt, Kenya, Norway, Sweden, Poland, Peru, Chile, Cuba, Greece, Turkey, London, Paris, Rome, Tokyo, New York, Berlin, Madrid, Moscow, Texas, Africa, Europe, Australia".split(", ")
ONLY_STORIES = ["I do not know that. I only tell little stories, like one about {X}.", "I can only tell little stories. Would you like one about {X}?",
                "That is too hard for me. I only tell little stories. Ask me for one about {X}."]


def a(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def casual(text, rng):
    """People do not always type neatly."""
    if rng.random() < 0.25:
        text = text.rstrip(".")
    if rng.random() < 0.2:
        text = text.lower()
    elif text:
        text = text[0].upper() + text[1:] if rng.random() < 0.97 else text
    return text


def dialogue(turns, rng):
    head = SYSTEM + rng.choice(SYSTEMS) + END if rng.random() < 0.1 else ""
    return head + "".join(USER + question + END + ASSISTANT + answer + END for question, answer in turns)


def request(item, rng):
    if rng.random() < 0.05 or not item["topics"]:
        return casual(rng.choice(OPEN_REQUESTS), rng)
    text = rng.choice(REQUESTS).replace("{X}", item["topics"][0])
    if rng.random() < 0.04:
        text = rng.choice(["Hi! ", "Hello. ", "Hey, ", "Please help me. "]) + text
    return casual(text, rng)


def chat(item, rng):
    story = item["text"]
    if rng.random() < 0.04:
        sentences = re.split(r"(?<=[.!?]) ", story, maxsplit=2)
        if len(sentences) == 3 and story.count('"', 0, len(story) - len(sentences[2])) % 2 == 0:
            start = " ".join(sentences[:2])
            return dialogue([(rng.choice(CONTINUE).replace("{X}", start), sentences[2])], rng)
    question = request(item, rng)
    turns = [(question, story)]
    if rng.random() < 0.1:
        turns.append((casual(rng.choice(THANKS), rng), suggest(THANKS_BACK, rng)))
    return dialogue(turns, rng)


def short(item, rng):
    """Request and beginning only: where what was asked for decides how the story goes."""
    first = " ".join(re.split(r"(?<=[.!?]) ", item["text"].split("\n")[0])[:4])
    return dialogue([(request(item, rng), first)], rng).removesuffix(END)


def suggest(answers, rng):
    animals = "cat, dog, fox, bear, rabbit, dragon, robot, mouse, bird, pirate, princess, owl, frog".split(", ")
    things = "kite, boat, key, balloon, drum, hat, bell, lamp, cake, star".split(", ")
    animal, thing = a(rng.choice(animals)), a(rng.choice(things))
    return rng.choice(answers).replace("{X}", rng.choice([animal, thing, f"{animal} and {thing}"]))


def talk(rng):
    things = [row.split("|")[0] for row in lx.THINGS.strip().split("\n")] + lx.EXTRA_THINGS + ["car", "phone", "computer", "volcano", "planet"]
    noun, kind = rng.choice(things), rng.choice(lx.ANIMALS)
    question = rng.choice(QUESTIONS)
    for mark, value in {"{A}": rng.choice([a(noun), a(kind), "gravity", "the sun", "love", "money", "music", "time", "history"]), "{C}": rng.choice(COUNTRIES),
                        "{C2}": rng.choice(COUNTRIES), "{N}": noun, "{N2}": rng.choice(things), "{K}": kind, "{F}": rng.choice(lx.FOODS),
                        "{n}": str(rng.randint(1, 99)), "{m}": str(rng.randint(1, 99))}.items():
        question = question.replace(mark, value)
    first = rng.choices([
        (rng.choice(ASKS_SELF), rng.choice(SELF)), (rng.choice(GREETINGS), suggest(GREET_BACK, rng)), (question, suggest(ONLY_STORIES, rng)),
        (rng.choice(THANKS), suggest(THANKS_BACK, rng)), (rng.choice(BYES), rng.choice(BYES_BACK)), (rng.choice(SAD), suggest(SAD_BACK, rng)),
    ], [4, 4, 7, 0.7, 1, 1])[0]
    turns = [(casual(first[0], rng), first[1])]
    if rng.random() < 0.3:
        turns += [(rng.choice(BYES), rng.choice(BYES_BACK))] if rng.random() < 0.5 else [(rng.choice(ASKS_SELF), rng.choice(SELF))]
    return dialogue(turns, rng)


def select(stories, rng):
    """The better part of the teacher's stories: common words only, and later sentences return to the first one."""
    words = [set(re.findall(r"[a-z]+", text)) for text in stories]
    count = Counter(w for ws in words for w in ws)
    floor = max(2, len(stories) * 0.0005)
    for text, ws in zip(stories, words):
        if any(count[w] < floor for w in ws):
            continue
        if text.startswith("Once upon a time") and rng.random() < 0.5:  # too many of one kind
            continue
        first, rest = (re.split(r"(?<=[.!?]) ", text, maxsplit=1) + [""])[:2]
        themes = {w for w in re.findall(r"[a-z]{4,}", first)} - COMMON
        if any(re.search(rf"\b{w}", rest) for w in themes):
            yield text


COMMON = set("there once upon time named very with that they them their wanted liked loved morning sunny lived near little best friends".split())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stories", required=True, help="output of generate.py")
    parser.add_argument("--teacher", required=True, help="output of teachers.py")
    parser.add_argument("--out", required=True)
    parser.add_argument("--chat-share", type=float, default=0.4, help="share of the generated stories told as an answer")
    parser.add_argument("--talk", type=float, default=0.08, help="small-talk dialogues per generated story")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with open(args.out, "w") as out:
        def write(part, text):
            out.write(json.dumps({"part": part, "text": text}) + "\n")
        for line in open(args.stories):
            item = json.loads(line)
            # heroes other than children show better how the story follows the request
            child = any(re.search(r"\b(girl|boy)\b", topic) for topic in item["topics"])
            share = 0.7 if "plot" in item else args.chat_share * (0.6 if child else 1.4)
            if rng.random() < share:
                write("chat", chat(item, rng))
            else:
                write("story", item["text"])
            if "plot" in item:
                write("short", short(item, rng))
            if rng.random() < args.talk:
                write("talk", talk(rng))
        for text in select([json.loads(line)["text"] for line in open(args.teacher)], rng):
            write("teacher", text)


if __name__ == "__main__":
    main()
