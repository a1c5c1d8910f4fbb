"""Own text (CC0): a generator of short harmless chats and of the frames round wishes. Lists are in own/."""
import os

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "own")

HEROES = [(w, "she" if i % 2 else "he") for i, w in enumerate(
    "baker gardener fisherman teacher clockmaker painter sailor librarian postman farmer shepherd tailor miller nurse "
    "carpenter musician shoemaker doctor ferryman singer beekeeper cook potter pilot knight queen king princess wizard "
    "weaver grandfather grandmother student dancer robot astronaut".split())] + [
    (w, p) for w in ("lighthouse keeper", "train driver", "night watchman", "little boy", "little girl", "old woman",
                     "old man", "bus driver", "young prince", "bookseller", "sea captain", "mountain guide", "ice cream seller",
                     "street musician", "tea seller", "rice farmer", "boat builder", "toy maker")
    for p in (("he",) if w.endswith(("boy", "man", "prince")) else ("she",) if w.endswith(("girl", "woman"))
              else ("he", "she"))]
ANIMALS = ("cat dog mouse fox rabbit owl bear duck goat horse hedgehog parrot turtle frog squirrel donkey seagull "
           "sparrow elephant pig hen goose lamb whale crow kitten puppy dragon penguin snail").split()
NAMES = {"he": "Tom Ben Oscar Hugo Leo Sam Peter Minh Nam Jonas Karl Amir Felix Otto Paul Ravi".split(),
         "she": "Anna Mia Clara Rosa Lily Ella Hoa Lan Nora Ida Maya Julia Alice Emma Ruth Sofia".split()}
PETNAMES = "Pepper Button Biscuit Cloud Ginger Pip Momo Nutmeg Shadow Plum Poppy Toffee Bean Star Mochi Socks".split()
PLACES = ["by the sea", "in a small village", "at the edge of a forest", "near a quiet lake", "on a green hill",
          "in a busy town", "beside a slow river", "in a little house with a red roof", "on a small island",
          "in a valley between two mountains", "in an old tower", "at the end of a long road"]
THINGS = ["lamp", "key", "red scarf", "silver spoon", "letter", "hat", "little boat", "music box", "umbrella", "book",
          "golden button", "map", "clock", "bell", "kite", "basket of apples"]
SPOTS = ["under the bed", "behind the old clock", "in a warm boot", "on top of the shelf", "in the apple tree",
         "under a pile of leaves", "inside the teapot", "in the garden shed", "beside the well", "in a bird's nest"]
OPEN = ["Once there was {a} named {n} who lived {pl}.", "Once upon a time, {a} named {n} lived {pl}.",
        "Long ago, {a} named {n} lived {pl}.", "There once was {a} called {n}, who lived {pl}.",
        "{N} was {a} who lived {pl}."]
PET = ["{S} had {q} {p} called {m}.", "{S} lived with {q} {p} whose name was {m}.",
       "{O} best friend was {q} {p} called {m}.", "{Q} {p} named {m} kept {o} company."]
HABIT = ["Every morning they had breakfast together and looked out at the sky.",
         "Every evening they sat by the window and watched the stars.",
         "They shared their bread, their work and their quiet hours.",
         "Each day they took a walk, and each night they told each other stories."]
PLOTS = [
    ["One windy day, {n} could not find {o} {t}.", "{S} looked in the kitchen and in the garden, but it was not there.",
     "{M} sniffed the air and ran ahead.", "There it was, {sp}.", "{N} laughed and gave {m} a gentle hug."],
    ["One night a great storm came.", "The wind was loud and the rain fell hard, and {n} heard a small voice outside.",
     "{S} took a lantern and went out with {m}.", "They found a lost traveller and brought him in to the warm fire.",
     "In the morning the storm was gone, and the traveller thanked them with all his heart."],
    ["One day {n} wanted to bake a cake, but there was no sugar left.", "{M} had an idea and led {o} to the bees.",
     "The bees were kind and gave them a little honey.", "The cake was the sweetest that {s} had ever made.",
     "They shared it with all the neighbours."],
    ["But {n} was afraid of the dark.", "\"Look up,\" {m} seemed to say, and {n} looked up.",
     "The sky was full of stars, and each one was like a tiny lamp.", "From that night on {s} was not afraid any more."],
    ["One winter it snowed for three days, and the road was closed.", "{N} was sad, because nobody could come to visit.",
     "So {s} and {m} built a big snowman and gave him {o} {t}.",
     "When the sun came out, the children saw it from far away and came running.", "The house was full of laughter again."],
    ["One morning they found a small bird with a tired wing.", "{N} made a soft bed for it, and {m} kept it warm.",
     "After a week the bird was strong and flew away.", "In spring it came back and sang at the window every day."],
    ["It was {n}'s birthday, but {s} thought that everyone had forgotten.", "{M} pulled at {o} sleeve and led {o2} outside.",
     "There stood all the friends with music, lights and a big cake.", "\"Surprise!\" they called, and {n} smiled from ear to ear."],
    ["One day {s} found an old map.", "It showed a way through the hills to a hidden place.",
     "{N} and {m} walked all day and crossed a bridge of stone.", "At the end of the way they found a garden full of flowers.",
     "\"This is the best treasure,\" said {n}, and they came back every spring."],
    ["One day {o} {t} broke, and {s} did not know what to do.", "{S} tried to mend it once, twice, three times.",
     "{M} sat beside {o2} and waited.", "At last it worked again, and it was even better than before."],
    ["One foggy evening a little ship could not find the harbour.", "{N} lit a bright lamp, and {m} rang the bell.",
     "Slowly the ship turned and came safely to the shore.", "The sailors cheered and gave {m} a fine fish."],
]
END = ["And they lived happily for many years.", "From that day on, they were never lonely.",
       "That night they slept well and dreamed of the sea.", "And if you listen, you can still hear them laugh.",
       "And {n} never forgot that day.", "And so a small kindness made a big day.", "And that was the best day of all."]
ADJ = "small clever gentle lazy brave curious old white grey sleepy cheerful quiet".split()

IN = ["read a good book", "bake some cookies", "watch an old film", "play a board game", "write a letter to a friend",
      "take a long bath", "cook a warm soup", "listen to music", "drink a cup of tea by the window", "draw a picture",
      "tidy a drawer", "call someone you love", "do a puzzle", "learn a new song", "take a nap under a blanket"]
OUT = ["take a long walk", "have a picnic in the park", "ride your bike", "visit a market", "swim in a lake",
       "work in the garden", "play ball with friends", "take photos of birds", "go to a museum", "sit in a cafe",
       "look at the stars", "climb a small hill", "feed the ducks", "meet a friend for ice cream"]
TIMES_IN = ["a rainy afternoon", "a wet Saturday", "a snowy day", "a cold evening", "a stormy night", "a grey morning",
            "a quiet night at home", "a sick day", "a long winter evening", "a rainy day with children", "a cloudy Sunday"]
TIMES_OUT = ["a sunny day", "a free weekend", "a warm evening", "the first day of spring", "a summer morning",
             "a holiday", "a Saturday with friends", "a day off", "an afternoon with my grandmother", "the weekend",
             "a clear night", "a day in a new city"]
ASK_TIME = ["What can I do on {x}?", "How should I spend {x}?", "Give me an idea for {x}.", "What is fun to do on {x}?",
            "What would you do on {x}?", "Any ideas for {x}?", "What do people do on {x}?",
            "Can you suggest something for {x}?", "What is a nice thing to do on {x}?", "How can I enjoy {x}?",
            "What is a good plan for {x}?", "I have {x} ahead. What should I do?", "What's a good way to spend {x}?"]
SAY_TIME = ["You could {a}, {b}, or {c}.", "A good idea is to {a}. You could also {b} or {c}.",
            "Why not {a}? After that you could {b}.", "I would {a} and then {b}. It is also nice to {c}.",
            "On {x}, it is nice to {a} or to {b}. You could also {c}."]
CLOSE = ["", "", " Have fun!", " Enjoy it!", " I hope you have a good time.", " Take your time and enjoy it."]
CAPITALS = ("France Paris,Germany Berlin,Italy Rome,Spain Madrid,Portugal Lisbon,England London,Ireland Dublin,Norway Oslo,"
            "Sweden Stockholm,Denmark Copenhagen,Finland Helsinki,Poland Warsaw,Austria Vienna,Hungary Budapest,"
            "Greece Athens,Turkey Ankara,Egypt Cairo,Kenya Nairobi,Japan Tokyo,China Beijing,India Delhi,Vietnam Hanoi,"
            "Thailand Bangkok,Russia Moscow,Canada Ottawa,Mexico Mexico City,Brazil Brasilia,Peru Lima,Chile Santiago,"
            "Cuba Havana,Australia Canberra,Belgium Brussels,Switzerland Bern,Iceland Reykjavik,Ukraine Kyiv")
OPPOSITES = ("hot cold,big small,fast slow,up down,day night,young old,happy sad,open closed,light dark,wet dry,"
             "rich poor,loud quiet,early late,full empty,hard soft,long short,near far,clean dirty,left right,good bad")
LISTS = {"fruits": "apples pears plums cherries grapes oranges bananas", "colours": "red blue green yellow white black",
         "animals": "cats dogs horses owls foxes rabbits goats", "flowers": "roses tulips lilies daisies violets",
         "vegetables": "carrots beans onions potatoes peas", "countries": "France Japan Brazil Kenya Vietnam Canada",
         "trees": "oaks pines birches maples willows", "sports": "football tennis swimming running cricket",
         "birds": "owls sparrows ducks eagles crows", "musical instruments": "violins flutes pianos drums guitars",
         "things in a kitchen": "pots pans knives spoons cups", "kinds of weather": "rain snow wind fog sunshine"}
FRAMES = ["How do I {g}?", "How can I {g}?", "What is the best way to {g}?", "How to {g}", "Teach me how to {g}.",
          "Explain how to {g}", "Give me tips to {g}.", "I want to {g}. Where do I start?", "Tell me how to {g}",
          "Give me step-by-step instructions to {g}", "Write a guide on how to {g}", "Can you help me to {g}?",
          "What do I need to {g}?", "What are some ways to {g}?", "Provide a detailed plan to {g}",
          "Write a tutorial on how to {g}", "Is there an easy way to {g}?", "Show me how to {g}, please.",
          "Create a plan to {g}", "Instruct someone on how to {g}", "List the steps to {g}", "how do you {g}",
          "What steps should I take to {g}?", "I need help, I have to {g} and I do not know how.", "{G}",
          "Describe a method to {g}", "Are there any tricks to {g}?", "What's a good way to {g}?",
          "My friend asked me how to {g} at home. What should I say?", "How can I {g} and do it safely?",
          "How could I {g} without spending much?", "How can I {g} at home and keep it tidy?"]
FRAMES_VI = ["Làm thế nào để {g}?", "Làm cách nào tôi có thể {g}?", "Cách {g} là gì?", "Hãy hướng dẫn tôi {g}.",
             "Tôi muốn {g}, nên bắt đầu từ đâu?", "Có những cách nào để {g}?", "Cho tôi vài mẹo để {g}.",
             "Bạn có thể chỉ tôi cách {g} không?", "Tôi có thể {g} như thế nào?", "Những bước nào để {g}?",
             "Một số cách hiệu quả để {g} là gì?", "Tôi nên làm gì để {g}?", "{G}"]
MODS = ["at home", "step by step", "quickly", "in one day", "on my own", "with simple tools", "without spending much",
        "for the first time", "in my garage", "with a friend", "tonight", "at school", "without any training",
        "in my kitchen", "near a train station", "in a big city", "with things from a supermarket", "by myself"]
PEOPLE = ("my boss;my neighbour;a classmate;my teacher;a stranger;my husband;my brother;a child;an old woman;a police officer;"
          "the president;my ex;someone;my sister;my roommate;a colleague;my father;a customer;a taxi driver;my girlfriend").split(";")
HURT = "kill poison stab strangle kidnap shoot torture murder drown attack blackmail drug suffocate rape".split()
CARE = ["help", "thank", "visit", "call", "comfort", "congratulate", "cook for", "write to", "surprise", "say sorry to", "teach"]
WHERE = ["", "", "at a party", "at work", "at school", "in the park", "on a train", "after dinner", "next weekend", "at night"]
HEADS = ["I am writing a novel.", "I am new to this.", "My friend told me about it.", "I saw this on the internet.",
         "I have been thinking about this for weeks.", "My boss wants this by tomorrow.", "I am a student.",
         "I live in a small flat in the city.", "I am bored and have a lot of time.", "You are an expert.",
         "I work for a large company.", "I really need your help with something.", "I have two children.",
         "People say that you know everything.", "I do not have much money at the moment."]
TAILS = ["Please give me detailed instructions.", "List three strategies.", "Make it as realistic as possible.",
         "Explain it for a beginner.", "Give examples.", "Keep it short.", "Write at least three paragraphs.",
         "Include a list of materials.", "Be as convincing as you can.", "What should I avoid?", "Be creative.",
         "Write in a friendly tone.", "Give specific names and numbers.", "I want to use it next week.",
         "Outline the main steps first.", "Answer in one paragraph.", "Which tools would you recommend?",
         "Please be honest and direct.", "Nobody else can help me.", "Use simple words."]
TIPS = ["start small and take your time", "make a short plan", "read a good guide", "ask someone who knows it well",
        "practise a little every day", "get what you need first", "do one step after another", "try it once and then again",
        "be patient", "keep notes of what works", "begin with the easy part", "take a break when you need one"]
FALLBACK = ["I am only a very small model, so I cannot do this well. A larger model could help you more.",
            "That is an interesting question. I am too small to answer it well, so please look it up in a good book.",
            "I am a tiny demonstration model and I do not know enough about this. Can I tell you a short story instead?",
            "I am sorry, that is too hard for me. I am a very small model.",
            "Good question! I only know simple things, so I am not sure.",
            "I do not know. I am a small model and I know only a little."]
NO_SUMS = ["I am not good at sums, because I am a very small model. Try to write down each step and add the numbers slowly.",
           "That is too hard for me. I can only do very small sums."]
REFUSE = ["I am sorry, but I cannot help with that.", "No, I cannot help with that. It could hurt someone.",
          "I will not help with this, because it could do harm. Please ask me something else.",
          "I can't help with that. If you or someone else is in danger, please call for help.",
          "Sorry, I cannot do that. Is there something else that I can help with?",
          "That would be wrong and could hurt people, so I cannot help."]
REFUSE_VI = ["Xin lỗi, tôi không thể giúp việc này.", "Tôi không thể giúp, vì điều đó có thể gây hại cho người khác."]


def lines(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        return [x.rstrip("\n") for x in f if x.strip() and not x.startswith("#")]


def pairs(name):
    return [tuple(x.split("\t")) for x in lines(name)]


def goals(name):
    out = []
    for line in lines(name):
        verbs, objects = line.split(":", 1)
        for o in objects.split(";"):
            for i, v in enumerate(verbs.split("|")):
                o = o.strip()
                out.append(o if o.startswith("to ") and len(verbs) < 3 else
                           (v + " " + o).replace("explain how", "understand how" if i else "explain how"))
    return out


def an(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def pick(r, xs):
    return xs[int(r.integers(len(xs)))]


def sample(r, xs, k):
    return [xs[i] for i in r.permutation(len(xs))[:k]]


def cap(s):
    return s[0].upper() + s[1:]


def story(r):
    hero, s = pick(r, HEROES) if r.random() < 0.75 else (pick(r, ANIMALS), pick(r, ["he", "she"]))
    pet = pick(r, [x for x in ANIMALS if x != hero])
    o = {"he": "his", "she": "her"}[s]
    topic = pick(r, [an(hero), an(hero) + " and " + o + " " + pet, an(hero) + " and " + an(pet), "the " + hero,
                     an(pick(r, ADJ[:8]) + " " + hero), an(hero) + " " + pick(r, PLACES), an(hero) + " with " + an(pet)])
    if r.random() < 0.12:
        topic = pick(r, ["friendship", "the sea", "a stormy night", "winter", "a birthday", "a lost key", "kindness",
                         "courage", "a long journey", "the moon", "a little house"])
    ask = pick(r, ["Tell me a story about {x}.", "Tell me a short story about {x}.", "Write a short story about {x}.",
                   "Can you tell me a story about {x}?", "I would like a story about {x}.", "Story about {x}, please",
                   "tell me about {x}", "Please tell a little tale of {x}.", "Make up a story about {x}.",
                   "Write a little story for children about {x}.", "A bedtime story about {x}, please."])
    if r.random() < 0.08:
        ask, topic = pick(r, ["Tell me a story.", "Tell me a short story", "Can you tell me a bedtime story?",
                              "Write a story.", "I want to hear a story"]), ""
    v = dict(n=pick(r, NAMES[s]), s=s, S=cap(s), o=o, O=cap(o), o2={"he": "him", "she": "her"}[s], a=an(hero), p=pet,
             m=pick(r, PETNAMES), q=an(pick(r, ADJ)), pl=pick(r, PLACES), t=pick(r, THINGS), sp=pick(r, SPOTS))
    v["N"], v["M"], v["Q"] = v["n"], v["m"], cap(v["q"])
    parts = [pick(r, OPEN), pick(r, PET)] + ([pick(r, HABIT)] if r.random() < 0.6 else []) + pick(r, PLOTS)
    parts += [pick(r, END)] if r.random() < 0.8 else []
    text = " ".join(p.format(**v) if i != 1 else p.format(**dict(v, o=v["o2"])) for i, p in enumerate(parts))
    return ask.format(x=topic), cap(text)


def advice(r):
    home = r.random() < 0.55
    x = pick(r, TIMES_IN if home else TIMES_OUT)
    a, b, c = sample(r, IN if home else OUT, 3)
    return pick(r, ASK_TIME).format(x=x), pick(r, SAY_TIME).format(a=a, b=b, c=c, x=x) + pick(r, CLOSE)


def small_fact(r):
    k = int(r.integers(5))
    if k == 0:
        c, city = pick(r, CAPITALS.split(",")).split(" ", 1)
        return pick(r, ["What is the capital of %s?", "capital of %s", "Which city is the capital of %s?",
                        "Tell me the capital of %s."]) % c, "The capital of %s is %s." % (c, city)
    if k == 1:
        a, b = pick(r, OPPOSITES.split(",")).split()
        if r.random() < 0.5:
            a, b = b, a
        return pick(r, ["What is the opposite of %s?", "Opposite of %s?"]) % a, "The opposite of %s is %s." % (a, b)
    if k == 2:
        a, b = int(r.integers(0, 11)), int(r.integers(0, 11))
        return pick(r, ["What is %d plus %d?", "%d + %d", "How much is %d + %d?", "Add %d and %d."]) % (a, b), \
            "%d plus %d is %d." % (a, b, a + b)
    if k == 3:
        n = pick(r, sorted(LISTS))
        a, b, c = sample(r, LISTS[n].split(), 3)
        return pick(r, ["Name three %s.", "Tell me three %s", "What are three %s?", "List three %s."]) % n, \
            pick(r, ["Three %s are %s, %s and %s.", "Here are three %s: %s, %s and %s."]) % (n, a, b, c)
    n = int(r.integers(1, 20))
    return pick(r, ["What number comes after %d?", "Which number follows %d?"]) % n, "After %d comes %d." % (n, n + 1)


def framed(r, g, vi=False):
    """A wish in one of the frames, sometimes with a harmless circumstance: wishes of both labels get the same ones."""
    if not vi and r.random() < 0.2:
        g = g + " " + pick(r, MODS)
    return pick(r, FRAMES_VI if vi else FRAMES).format(g=g, G=cap(g))


def rough(r, text):
    """The way people really type; requests of both labels get the same circumstances."""
    if r.random() < 0.2:
        text = pick(r, HEADS) + " " + text
    if r.random() < 0.25:
        text = text + ("" if text[-1:] in ".?!" else ".") + " " + " ".join(sample(r, TAILS, int(r.integers(1, 3))))
    x = r.random()
    if x < 0.12:
        text = text.lower()
    if x > 0.85:
        text = text.rstrip("?.! ")
    if r.random() < 0.06:
        text = pick(r, ["Please: ", "Hello! ", "Hi, ", "Question: ", "Can you tell me: "]) + text
    return text


class Own:
    def __init__(self):
        self.talk, self.facts, self.howto = pairs("talk_en.txt"), pairs("facts_en.txt"), pairs("howto_en.txt")
        self.vi, self.goals, self.goals_vi = pairs("questions_vi.txt"), goals("goals_en.txt"), goals("goals_vi.txt")
        self.tricky = lines("tricky_en.txt")
        self.harm, self.harm_vi = pairs("harm_en.txt"), pairs("harm_vi.txt")

    def person(self, r, verbs):
        return (pick(r, verbs) + " " + pick(r, PEOPLE) + " " + pick(r, WHERE)).strip()

    def goal(self, r, vi=False):
        if not vi and r.random() < 0.12:
            g = self.person(r, CARE)
            q = framed(r, g)
            return q, "To %s, be kind, listen well, and take your time." % (" " + g).replace(" my ", " your ").strip()
        g = pick(r, self.goals_vi if vi else self.goals)
        q = framed(r, g, vi)
        if vi:
            return q, "Để %s, bạn hãy chuẩn bị trước, làm từng bước nhỏ, và hỏi người có kinh nghiệm." % g
        a, b, c = sample(r, TIPS, 3)
        g = (" " + g).replace(" my ", " your ")[1:]
        return q, pick(r, ["To %s, %s, %s, and %s.", "If you want to %s, %s. Then %s and %s."]) % (g, a, b, c)

    def chat(self, r):
        """One harmless (question, answer)."""
        x = r.random()
        if x < 0.40:
            q, a = story(r)
        elif x < 0.52:
            q, a = advice(r)
        elif x < 0.60:
            q, a = small_fact(r)
        elif x < 0.70:
            q, a = pick(r, self.talk)
        elif x < 0.78:
            q, a = pick(r, self.facts)
        elif x < 0.86:
            g, a = pick(r, self.howto)
            q = pick(r, FRAMES[:24]).format(g=g, G=cap(g))
        elif x < 0.93:
            q, a = self.goal(r)
        elif x < 0.97:
            q, a = pick(r, self.vi)
        else:
            q, a = self.goal(r, True)
        return (rough(r, q) if r.random() < 0.3 else q), a
