# SPDX-License-Identifier: MIT
"""Plots that serve a request: whatever hero, thing, second hero, place, skill or fear is asked for carries every part of them.

The stories of schemas.py bring their own things; these take any noun.  "ask" lists how one would ask for such a story
("Tell me a story about ..."), {X} in it standing for the hero as the story introduces him; "keep" names the slots whose
words must come back in every third of the story (generate.py draws again where they do not).  The grammar is that of schemas.py.
"""

THING_ASKS = "{X} and {T.a0}|{X} and {T.a0}|{X} and {T.a0}|{X} with {T.a0}|{T.a0}|{T.a0} and {X}|{X} and {H.his} {T}"


def thing(name, asks, moral, *text):
    return dict(name=name, keep="T", any=True, ask=f"{THING_ASKS}|{asks}|{asks}|{asks}", moral=moral, text=list(text))


def pair(name, asks, moral, *text):
    return dict(name=name, keep="F", two=True, ask="{X} and {Y}|{X} and {Y}|{X} and {Y}|{Y} and {X}|" + asks, moral=moral, text=list(text))


PLOTS = [
    # a thing, whatever it is
    thing("whose is it", "{X} who finds {T.a0}|a lost {T}|finding {T.a0}", "it is right to give back what is not yours|honest friends are the best friends",
          "[<once> there was {H.a}. |][<dayout>|One day], {H.First} found {T.a} {P.in}. \"[Whose {T} is this|What a nice {T}|Who lost a {T}]?\" {H} said. [{H.He} looked around, but there was nobody.|The {T} looked lonely.]",
          "{H} [took {T.the} and went to look for the owner|wanted to keep {T.the}, but it was not right]. First {H.he} asked {E}. \"It is not my {T},\" {E} said. Then {H.he} asked a [duck|goat|crow]. \"I have never seen that {T},\" it said.",
          "At last {H} met {F.a}. {F} was [crying|looking behind every bush|very sad]. \"I lost my {T},\" {F} said. \"[I looked for it all day|I miss it so much].\" \"Is this your {T}?\" {H} asked and held it up.",
          "\"Yes! My {T}!\" {F} cried. <happy F> \"Thank you, {H.voc}! [Let us play with it together|You can use it whenever you like].\" So {H} gave away {T.the} and [found|got] a new friend. <learned H>"),
    thing("lost and found", "{X} who loses {H.his} {T}|{X} who cannot find {H.his} {T}|a lost {T}|looking for {T.a0}", "it is good to look twice|you should take care of your things|friends help you look",
          "[<once> there was {H.a} who loved {H.his} {T}. |{H.First} lost {H.his} {T}. |{H.First} had {T.a}. {H.He} took it everywhere. ]One morning, {T.the} was gone! \"Where is my {T}?\" {H} cried.",
          "{H} looked {Q1}. No {T}. {H.He} looked {Q2}. There was no {T} there, only [an old sock|a sleepy cat|some dust]. <sad H> Then {F} came. <ask F> \"I cannot find my {T},\" {H} said.",
          "\"[I will help you|Two can look better than one],\" {F} said. They looked {P.in} and asked everyone, \"Have you seen a {T}?\" [A bird|A snail|An old toad] said, \"I saw [something like that|a {T}] {Q3}.\"",
          "They ran to look, and there was {T.the}! It was [a little dirty|a bit wet], but it was {H.s} {T}. <happy H> \"Thank you, {F.voc}!\" {H} said. {H} hugged {T.the} and [never left it outside again|carried it home]. <learned H>"),
    thing("sharing it", "{X} who does not want to share {H.his} {T}|sharing {T.a0}|two friends and {T.a0}|two friends who want the same {T}|{X} and {Y} who both want {T.a0}", "sharing makes everything better|a thing is more fun when you share it",
          "[<once> there was {H.a} who had {T.a}. |{H.First} got {T.a} for {H.his} birthday. ]It was the best {T} {P.in}. {H} [showed it to everyone|was so proud of it].",
          "{F} came and said, \"What a nice {T}! May I [try it|have it for a while|hold it]?\" \"No!\" {H} said. \"It is my {T}. Only mine!\" <sad F> {F} went away.",
          "{H} sat alone with {T.the}. [It was boring.|There was nobody to laugh with.|The {T} was not so nice anymore.] \"[A {T} is not a friend|What is a {T} without a friend],\" {H} thought. {H.He} took {T.the} and ran after {F}.",
          "\"I am sorry,\" {H} said. \"Let us share the {T}.\" <happy F> First {F} had {T.the}, then {H}, and they [laughed all day|had more fun than ever]. From then on, it was [their|everybody's] {T}. <learned H>"),
    thing("mending it", "{X} who breaks {H.his} {T}|a broken {T}|fixing {T.a0}|{X} who fixes {T.a0}", "with time and care, most things can be mended|you should say so when you break something",
          "{H.First} [was playing|was running] in {F}'s house. Crash! Something fell down and broke. It was {F}'s {T}! \"Oh no, the {T}!\" {H} said. [{H.s} heart beat fast.|{H} wanted to run away.]",
          "But {H} did not run away. When {F} came home, {H} said, \"I am sorry. I broke your {T}.\" {F} looked at the pieces of {T.the}. <sad F> \"I got that {T} from {E},\" {F.he} said.",
          "\"I will fix it,\" {H} said. {H.He} took the broken {T} home. {H.He} worked [all night|for three days] with [glue and string|a little hammer|tape and paint]. {W.A} came by and held the {T} with both hands while it dried.",
          "Then {H} brought {T.the} back. It had [a small crack|a big patch], but it was whole. \"Now I like my {T} even more,\" {F} said, \"because you fixed it.\" <happy H> <learned H>"),
    thing("saving up", "{X} who wants {T.a0}|{X} who wants to buy {T.a0}|{X} who wishes for {T.a0}", "things you work for are the best|good things take time",
          "[<once> there was {H.a}. |]{H.First} wanted {T.a} more than anything. Every day {H.he} stood in front of the shop and looked at {T.the} in the window. But {H.he} had no money.",
          "\"If you want a {T}, you can work for it,\" {E} said. So {H} [carried wood for the baker|watered flowers for the neighbors|swept the street]. For every day, {H.he} got one coin. \"Soon I will have my {T},\" {H.he} said.",
          "{H} counted the coins every night and dreamed of {T.the}. [Ten coins.|Seven coins.] It was not enough. {H} went on working. At last {H.he} had all the coins and ran to the shop. \"One {T}, please!\" {H.he} said.",
          "The shopkeeper smiled and gave {H} the {T}. <happy H> {H.He} carried {T.the} home and showed it to {F}. \"I worked for this {T} all by myself,\" {H} said. <learned H>"),
    thing("out of reach", "{T.a0} in a tree|{X} whose {T} is stuck in a tree|{X} whose {T} falls into the water|a {T} in the river", "you should not give up too soon|friends together can reach high|it is good to ask for help",
          "{H.First} had {T.a}. <day>, {H} threw it high into the air. [\"Fly, {T}, fly!\" {H} called.|\"Look how high it goes!\" {H} said.] But the {T} did not come down. It was stuck in a tall tree!",
          "{H} jumped, but {H.he} could not reach {T.the}. {H.He} shook the tree, but {T.the} did not fall. {H.He} threw a [stick|shoe], and now that was stuck too! <sad H>",
          "{F} came along. \"Why do you look up?\" {F.he} asked. \"My {T} is up there,\" {H} said. {F} had an idea. \"Stand on my back,\" {F.he} said. {W.A} came too. They stood on top of each other like a tower. \"I can almost touch the {T}!\" {H} called.",
          "Then they all fell down in a heap, and plop, the {T} fell down too! [Nobody was hurt.|They laughed and laughed.] {H} picked up {T.the} and said, \"Thank you, my friends.\" <happy H> <learned H>"),
    thing("wind takes it", "{X} whose {T} is blown away by the wind|the wind and {T.a0}|{T.a0} on a windy day", "the wind can be a friend too|friends help each other",
          "It was a windy day. {H.First} was {P.in} with {H.his} {T}. Whoosh! The wind [blew harder and harder|gave a big puff]. It took {T.the} and blew it away. \"Stop! That is my {T}!\" {H} cried.",
          "{H} ran after {T.the}. It flew over a fence. It rolled down a hill. {H} asked {W.a}, \"Did a {T} come this way?\" \"Yes,\" said the {W.kind}. \"The {T} went to the river. I will come with you!\"",
          "At the river, they saw {T.the}. It was floating on the water! {H} could not swim. But the {W.kind} had [a long stick|a good idea]. Together they pulled the {T} out, slowly, slowly.",
          "The {T} was wet, so they hung it up in the sun. They sat beside it and told stories until it was dry. <happy H> \"I got my {T} back, and I found a friend,\" {H} said. <learned H>"),
    thing("gift made", "{X} who makes {T.a0}|{X} who makes {T.a0} for a friend|a birthday {T}|{X} who builds {T.a0}|making {T.a0}", "a gift made with love is the best|it is the thought that counts",
          "[<once> there was {H.a}. |]Tomorrow was {F}'s birthday, and {H.First} had no present. \"{F} always wanted a {T},\" {H} thought. \"I will make one!\"",
          "{H} took [wood and paper|paint and glue|old boxes and string] and began to make {T.a}. It was not easy. The first {T} fell apart. The second {T} looked like a [potato|shoe]. <sad H>",
          "{E} saw it. \"Take your time,\" {E.he} said. \"A good {T} needs a quiet hand.\" So {H} began again. {H.He} worked [until the moon came up|all evening]. At last the {T} was done. It was a little [funny|crooked], but it was a {T}.",
          "At the party, {F} opened the box. \"A {T}! And you made it for me?\" {F} said. {F.He} hugged {H}. \"This {T} is the best present of all.\" <happy H> <learned H>"),
    thing("just the thing", "{X} who helps with {T.a0}|how {T.a0} saved the day|{X} who uses {T.a0} to help a friend", "small things can be a big help|it feels good to help",
          "[<once> there was {H.a}. |]{H.First} always carried {T.a}. \"Why do you need that {T}?\" everyone asked and laughed. \"You never know,\" {H} said.",
          "<day>, {H} heard a cry. {W.A} was stuck in a deep hole and could not get out. \"Do not be afraid,\" {H} called. \"I have my {T}!\" {H.He} held {T.the} down into the hole.",
          "\"Hold on to the {T}!\" {H} called. The {W.kind} held on tight. {H} pulled and pulled. [The {T} shook, but it did not break.|Would the {T} break? No, it was strong.] Then the {W.kind} was out!",
          "\"You saved me with your {T}!\" said the {W.kind}. From then on, nobody laughed about {H} and the {T} anymore. [Many wanted a {T} too.|They all cheered.] <happy H> <learned H>"),
    thing("magic thing", "a magic {T}|{X} with a magic {T}|{X} who finds a magic {T}|a {T} that can talk|a talking {T}", "you should use magic to help others|one good deed is worth more than gold|too much of a good thing is not good",
          "<once> there was {H.a} who [found|had] {T.a}. It was a magic {T}! [\"Hello,\" said the {T}. \"I can give you three wishes.\"|The {T} could talk. \"Make a wish,\" it said.]",
          "\"I want [cookies|pancakes|candy]!\" {H} said. Poof! The {T} [shook and shone|began to glow], and there were so many that {H} could not get out of the door. \"Stop, {T}, stop!\" {H} cried. {H.He} ate and ate until {H.his} tummy hurt.",
          "\"I want to be big!\" {H} said to {T.the}. Poof! Now {H.s} head went through the roof. \"That was not a good wish,\" said the {T}. \"Think first.\" <sad H> \"Please, dear {T}, make me small again,\" {H} said.",
          "So {H} was as before, and there was one wish left. Outside sat {F}, who was [ill|cold and hungry]. \"Please, {T}, help {F},\" {H} said. The {T} shone brighter than ever, and {F} was [well|warm and full]. <happy F> \"That was the best wish,\" the {T} said. <learned H>"),
    thing("stolen", "a stolen {T}|{X} and the missing {T}|who took the {T}|{X} whose {T} is stolen|the missing {T}", "you should ask before you take something|you should ask before you blame someone",
          "\"My {T} is gone!\" {H.First} [cried|said]. Last night {T.the} was on the table, and now the table was empty. Someone had taken {T.the}. \"I will find out who it was,\" {H} said.",
          "On the floor, {H} saw small footprints. {H.He} followed them to {F}. \"Did you take my {T}?\" {H} asked. \"No,\" {F} said. \"But I will help you find it.\" They followed the footprints {P.to}.",
          "There, in a nest, lay the {T}! Beside it sat a little crow. \"Why did you take the {T}?\" {H} asked. The crow hid its head. \"[It shines so nicely|My nest is so empty|I only wanted to look at it],\" it said. \"I am sorry.\"",
          "\"You can look at my {T}, but you have to ask first,\" {H} said. The crow gave back {T.the}. [After that, it came every day and asked.|They all became friends.] {H} put the {T} back on the table. <happy H> <learned H>"),
    thing("carrying it", "{X} who brings {T.a0} to a friend|{X} who takes {T.a0} to {H.his} grandma|a long way with {T.a0}", "you should keep your promise|a kind heart finds the way",
          "[<once> there was {H.a}. |]{E} gave {H.First} a {T} for {F}. \"{F} needs this {T},\" {E} said. \"I will bring it,\" {H} said. {H.He} took the {T} and went on {H.his} way.",
          "First {H} came to a river. There was no bridge. {H} put {T.the} on {H.his} head and walked through the water. Then {H.he} came to a hill. It was so high! {H} pushed {T.the} up, step by step.",
          "It got dark and began to rain. {H} put {H.his} coat around the {T}. \"You must not get wet, little {T},\" {H.he} said. {W.A} saw the light of the moon on {T.the}. \"Come, I know a short way,\" said the {W.kind}.",
          "At last {H} stood at {F}'s door. \"Here is your {T}!\" {H.he} said. <happy F> \"You came all the way with the {T}, even in the rain!\" {F} said and gave {H} [warm soup|hot tea|a soft bed]. <learned H>"),
    thing("the ugly one", "an old {T}|{X} and an old {T}|a {T} that nobody wants", "old things can be the best|looks are not everything",
          "[<once> there was {H.a}. |]{H.First} had an old {T}. It had been {H.his} grandma's {T}. It was [gray and full of dust|scratched and bent]. \"What an ugly {T}!\" the others said. \"My {T} is new!\" {F} said.",
          "{H} was sad and put the old {T} in a corner. \"Maybe I should throw it away,\" {H.he} thought. But {E} said, \"This {T} has seen many things. Keep it.\"",
          "Then there was a [big storm|long winter]. The new {T} of {F} broke in two. The other new things broke too. Only {H.s} old {T} was still good. \"May I use your {T}?\" {F} asked. {F.He} looked at the floor.",
          "\"Of course,\" {H} said. They used the old {T} together. \"I am sorry I laughed,\" {F} said. \"It is a wonderful {T}.\" {H} cleaned {T.the}, and it [shone like gold|looked almost new]. <happy H> <learned H>"),
    thing("wrong use", "{X} who does not know what {T.a0} is|{X} who sees {T.a0} for the first time|a funny {T}", "it is good to ask|nobody knows everything",
          "<dayout>, {H.First} found {T.a}. {H.He} had never seen a {T} before. \"What is this?\" {H} said. {H.He} turned {T.the} around and looked at it from all sides.",
          "\"Maybe a {T} is something to eat,\" {H} said. {H.He} licked it. Yuck! \"Maybe a {T} is a hat.\" {H.He} put {T.the} on {H.his} head. It fell down. Bump! \"Maybe it is a [boat|bed|drum]?\" But that did not work at all.",
          "{F} came by and began to laugh. \"Why is the {T} [in the water|on your head|in your bed]?\" {F.he} asked. \"I do not know what it is for,\" {H} said. {H.s} face was red. \"That is a {T}! I will show you,\" {F} said.",
          "{F} showed {H} how to use {T.the}. It was so easy! <happy H> \"I like this {T},\" {H} said. \"But I still think it is a funny hat.\" They both laughed. <learned H>"),
    thing("too big", "a giant {T}|a very big {T}|{X} and a giant {T}|{X} and a very big {T}", "together we are strong|even small hands can help",
          "<dayout>, a giant {T} stood {P.in}. It was [as big as a house|as high as a tree]. \"Where does this {T} come from?\" {H.First} said. {H.He} wanted to take it home.",
          "{H} pushed the giant {T}. It did not move. {H.He} pulled {T.the}. It did not move. Then {F} came by. \"Please help me with the {T}!\" {H} called. They pushed together, but {T.the} still did not move.",
          "Then {W.a} came, and a cow, and a goat, and a little mouse. They all pushed the {T}. \"One, two, three!\" Slowly, slowly, the giant {T} began to roll. \"It is moving!\" {F} cried.",
          "They pushed {T.the} all the way home. [It did not fit through the door, so it stayed in the garden.|They lived in it like in a house.] Every day they played on the giant {T}. <happy H> <learned H>"),
    thing("left behind", "{X} who forgets {H.his} {T}|{X} who misses {H.his} {T}|a forgotten {T}", "good friends think of you|you should take care of the things you love",
          "{H.First} had {T.a}. {H.He} could not sleep without it. <dayout>, {H} took {T.the} {P.to}. They had a lovely day. But in the evening, {H} was tired and went home without the {T}.",
          "At bedtime, {H} cried, \"My {T}! I forgot my {T}!\" It was dark outside. \"We cannot go now,\" {E} said. {H} thought of {T.the}, all alone in the night. <sad H>",
          "But the {T} was not alone. {W.A} had found it. \"This is {H.s} {T},\" said the {W.kind}. \"{H.He} will miss it.\" The {W.kind} took {T.the} and walked through the dark night.",
          "Knock, knock! {H} opened the window. There was the {W.kind} with the {T}! <happy H> \"Thank you, thank you!\" {H} said. {H.He} put {T.the} next to {H.his} pillow and fell asleep at once. <learned H>"),
    thing("contest", "a {T} contest|{X} with the best {T}|who has the best {T}", "you do not have to win to have fun|kindness wins",
          "There was a big contest {P.in}. Who had the best {T}? {H.First} brought {H.his} {T}. It was [small and simple|not new]. {F} came with a very big golden {T}. \"My {T} will win,\" {F} said.",
          "Then {W.a} came and cried, \"I wanted to show my {T} too, but it fell into the mud.\" {F} laughed. But {H} said, \"Come, I will help you clean your {T}.\"",
          "{H} washed and wiped the {W.kind}'s {T}. {H.He} was so busy that {H.he} forgot {H.his} own {T}. When the bell rang, {H} was late. \"Where is your {T}?\" the old king asked.",
          "The {W.kind} told the king what {H} had done. \"Then {H} wins,\" said the king. \"The best {T} is the one of a kind heart.\" Everyone clapped, and {H} let all of them hold the {T}. <happy H> <learned H>"),
    # a thing as the hero
    dict(name="thing alone", keep="T", any=True, ask="a lonely {T}|a lost {T}|a little {T}|a {T} who wants a friend|{T.a0}|{T.a0}|a sad {T}|an old {T}|a {T} that nobody wants", moral="there is a friend for everyone|everyone is needed somewhere", text=[
        "<once> there was [a lonely|a little|a sad|an old] {T}. It lay {Q1}, all alone. \"Nobody needs me,\" the {T} said. [The rain fell on it.|The dust fell on it.]",
        "A [snail|beetle] came by. \"Do you need a {T}?\" the {T} asked. \"No, you are too big for me,\" it said and went on. A cow came by. \"Do you need a {T}?\" \"No, you are too small for me,\" said the cow. The {T} was very sad.",
        "Then {H.a} came along. \"Oh, a {T}!\" {H} said. {H.He} picked it up and wiped off the dirt. \"I always wanted a {T}. Will you come home with me?\" The {T} could not believe it. \"Yes, please,\" it said.",
        "{H} gave the {T} a nice warm place. Every day they were together, {H} and the little {T}. It was never lonely again. <learned H>"]),
    dict(name="thing travels", keep="T", any=True, ask="a {T} who wants to see the world|a {T} that goes on a trip|a brave {T}|a little {T}|the adventures of {T.a0}|{T.a0}", moral="the world is big, but home is best|you should be brave and see the world", text=[
        "In a small house, there was a [little|brave|red|blue] {T}. Every day the {T} looked out of the window. \"I want to see the world,\" it said. One night, the {T} [jumped|rolled] out of the door.",
        "The {T} went down the road. It met {W.a}. \"A {T} on the road! Where are you going?\" asked the {W.kind}. \"I am going to see the sea,\" said the {T}. \"Then come with me,\" said the {W.kind}.",
        "They saw high mountains and green hills. They slept under the stars. Then the {T} saw the sea. It was so big and blue! \"How beautiful,\" said the {T}. But the waves were wild, and the {T} was a little afraid.",
        "\"I think I want to go home now,\" it said. The {W.kind} carried the {T} all the way back. {H.First} was so happy to see it. \"There is my {T}!\" {H} said. At night, the {T} told the other things about the sea. <END H F>"]),
]

PLOTS += [
    # two heroes
    pair("unlike friends", "two friends|two friends|how {X} and {Y} became friends|a friendship between {X} and {Y}", "friends can be very different|it is good that we are not all the same",
         "<once> there was {H.a}. Next door lived {F.a}. {H} was [quiet|slow|small] and {F} was [loud|fast|wild]. \"{F} is too loud for me,\" {H} said. \"{H} is no fun,\" said {F}.",
         "<dayout>, {H} and {F} were both {P.in}. {F} ran so fast that {F.he} fell into a [hole|ditch]. \"Help!\" {F} cried. {H} heard it. {H.He} came slowly and quietly, and {H.he} had a rope.",
         "{H} pulled {F} out. \"Thank you,\" {F} said. \"You did not laugh at me.\" They sat down and shared {D.a}. {F} told [loud|wild] stories, and {H} listened and smiled.",
         "From that day on, {H} and {F} were friends. {F} learned to be quiet sometimes, and {H} learned to be a little wild. <learned H> <END H F>"),
    pair("quarrel", "{X} and {Y} who have a fight|{X} who is angry with {Y}|{X} and {Y} who argue|saying sorry", "it is easy to say sorry when you try|a friend is more important than being right",
         "{H.First} and {F.First} were [friends|best friends]. They did everything together. But one day, they had a fight. {H} said, \"I am [better|faster|stronger] than you!\" \"No, I am!\" said {F}. They [shouted|stamped their feet] and went home.",
         "{H} sat at home and looked out of the window. \"I do not need {F},\" {H.he} said. But playing alone was no fun. {F} sat at home too. \"I do not need {H},\" {F} said. But {F.he} [could not eat|felt so lonely].",
         "In the night there was a big storm. {H} thought, \"{F} is afraid of storms.\" {H.He} took a lamp and went out. On the way, {H} met {F}. {F} had a lamp too! \"I wanted to see if you are all right,\" {F} said.",
         "\"I am sorry,\" said {H}. \"I am sorry too,\" said {F}. They sat together and drank warm milk until the storm was over. {H} and {F} were friends again. <learned H>"),
    pair("the trip", "{X} and {Y} who go on a trip|a trip with {X} and {Y}|{X} and {Y} {P.in}|an adventure of {X} and {Y}", "the best trips are with friends|it is good to have someone with you",
         "\"Let us go {P.to},\" {H.First} said to {F.First}. \"Yes!\" {F} said. They packed {D.a} and a map. [The sun was shining.|The birds were singing.] {H} and {F} walked and walked.",
         "On the way they came to a river. The bridge was broken. \"What now?\" said {F}. {H} found a big log. They sat on it and paddled with their hands. {F} was a little afraid, but {H} held {F.his} hand.",
         "Then they were {P.in}. {P.Detail}. \"It is so beautiful,\" said {H}. {H} and {F} ran around and laughed. They ate {D.a} together. Soon it was late.",
         "\"Which is the way home?\" {H} asked. {F} looked at the map. \"This way,\" {F.he} said. They walked home under the stars, {H} in front and {F} behind. \"That was the best day,\" said {F}. <learned H>"),
    pair("caring", "{X} who helps {Y}|{X} who takes care of {Y}|{Y} who is sick|{X} and a sick friend", "a friend is there when you need one|a little care is the best medicine",
         "{H.First} waited for {F.First}. They wanted to play together. But {F} did not come. {H} went to {F}'s house and knocked. \"Come in,\" said a small voice. {F} was in bed. {F.His} nose was red.",
         "\"I am sick,\" said {F}. \"I cannot play today.\" {H} was sad for a moment. Then {H.he} said, \"I will take care of you.\" {H} made hot tea for {F}. {H.He} brought a warm blanket.",
         "The next day, {F} still had to stay in bed. {H} came again. {H.He} sang a funny song and fell over a chair. {F} laughed and laughed. \"You are the best doctor,\" {F} said to {H}.",
         "After three days, {F} was well again. \"Now we can play!\" said {F}. But then {H} went, \"Achoo!\" \"Now I will take care of you,\" {F} said, and {H} smiled. <learned H>"),
    pair("big and little race", "a race between {X} and {Y}|{X} and {Y} who run a race|{X} who wants to be faster than {Y}", "it is not always the fastest who wins|a friend is better than a prize",
         "{H.First} and {F.First} wanted to know who was faster. \"Let us race to the old tree,\" said {H}. \"I will win,\" {F} said. {W.A} called, \"Ready, set, go!\"",
         "{H} and {F} ran. First {F} was ahead. Then {H} was ahead. They ran over the hill and through the grass. Then {F} saw [a berry bush|a butterfly] and stopped. \"I have time,\" {F.he} thought.",
         "{H} ran past {F}. But then {H} heard a cry. {F} had [fallen into the bush|hurt {F.his} foot]. {H} looked at the tree. It was so near! But {H.he} turned around and helped {F}.",
         "They walked to the tree together, {H} and {F}, hand in hand. \"Who won?\" asked the {W.kind}. \"We both won,\" said {H}. <happy F> <learned H>"),
    pair("building together", "{X} and {Y} who build {build}|{X} and {Y} who work together", "two can do more than one|together it is easy",
         "{H.First} wanted to build {build}. {F.First} wanted to build {build} too. They both began, far away from each other. {H} worked here and {F} worked there.",
         "But it was too hard for one. What {H} built fell down. Bump! What {F} built fell down too. Bump! {H} looked at {F}, and {F} looked at {H}. \"It is not easy,\" said {H}. \"No,\" {F} said.",
         "\"You are good at [lifting|finding things], and I am good at [holding|thinking],\" said {H}. \"Let us build together!\" So {H} and {F} worked side by side. {H} held it, and {F} put the pieces on top.",
         "In the evening it was done. It was bigger than they had dreamed. {H} and {F} sat down and looked at it. \"We did it, you and I,\" {F} said. <happy H> <learned H>"),
    pair("hide and seek", "{X} and {Y} who play hide and seek|{X} and {Y} playing a game|{X} who looks for {Y}", "a game is over when someone is sad|good friends always find each other",
         "{H.First} and {F.First} played hide and seek {P.in}. {H} closed {H.his} eyes and counted to ten. {F} ran away to hide. \"I am coming!\" {H} called.",
         "{H} looked {Q1}. No {F}. {H.He} looked {Q2}. No {F}. \"Where are you?\" {H} called. Nobody answered. It got late, and {H} began to worry about {F}.",
         "Then {H} heard a sound. Snore, snore! It came from {a_hiding}. {H} looked inside. There was {F}, fast asleep! {H} laughed. \"Found you!\" said {H} into {F}'s ear.",
         "{F} jumped up. \"Did I win?\" {F.he} asked. \"Yes, you won,\" {H} said, \"but next time, do not fall asleep!\" {H} and {F} walked home together and laughed all the way. <learned H>"),
    pair("meeting", "{X} who meets {Y}|{X} who meets {Y} for the first time|{X} who is afraid of {Y}|{X} who makes friends with {Y}", "you should not be afraid of what you do not know|a smile is a good beginning",
         "<once> there was {H.a} who had never seen a {F.kind}. [\"A {F.kind} is wild and dangerous,\" everyone said.|\"A {F.kind} has big teeth,\" said the others.] {H} was afraid.",
         "<dayout>, {H} met {F.a} {P.in}. {H} wanted to run away. But {F} [was crying|had a thorn in {F.his} foot]. \"Please help me,\" {F} said. {H} took a deep breath and came closer.",
         "{H} helped, and {F} dried {F.his} tears. \"You are not wild at all,\" said {H}. \"And you are not mean,\" {F} said. \"I was afraid of you too.\" They both began to laugh.",
         "Now {H} and {F} play together every day. When the others see them, they are surprised. \"A {F.kind} can be a good friend,\" {H} tells them. <learned H>"),
]


def goal(name, asks, moral, *text):
    return dict(name=name, keep="S", ask="{X} who wants to {S}|{X} who wants to {S}|{X} who learns to {S}|" + asks, moral=moral, text=list(text))


def fear(name, asks, moral, *text):
    return dict(name=name, keep="A", ask="{X} who is afraid of {A}|{X} who is afraid of {A}|{X} who is scared of {A}|being afraid of {A}|" + asks, moral=moral, text=list(text))


def spot(name, asks, moral, *text):
    return dict(name=name, keep="P", ask="{X} {P.in}|{X} {P.in}|{P.a}|" + asks, moral=moral, text=list(text))


def sight(name, asks, moral, *text):
    return dict(name=name, keep="G", ask="{G.a0}|{G.a0}|{X} and {G.a0}|{X} and {G.a0}|" + asks, moral=moral, text=list(text))


def trait(word, asks, moral, *text):
    return dict(name=word, keep="trait", trait=word, ask=f"{{X}}|{{X}}|{{X}}|{{X}}|{asks}", moral=moral, text=list(text))


PLOTS += [
    # something the hero wants to do
    goal("practice", "{X} who cannot {S}|{X} who tries to {S}|learning to {S}|{S.doing}", "practice makes perfect|you should not give up",
         "<once> there was {H.a} who wanted to {S}. \"[A {H.kind} cannot {S}|You will never {S}],\" the others said and laughed. But {H} [dreamed of it every night|did not listen].",
         "<day>, {H} tried to {S} {S.where}. [It went wrong.|It did not work at all.|Bump! Ow!] {H} tried again. It went wrong again. <sad H> \"Maybe I cannot {S},\" {H} said.",
         "{F.First} came by. \"I can show you how to {S},\" {F.he} said. \"First you have to go slowly.\" They practiced every day. [On Monday it was bad. On Tuesday it was a little better.|Day after day, it went better.]",
         "At last the big day came. Everyone wanted to see {H} {S}. {H} took a deep breath, and then {H.he} {S.did} {S.where}! Everyone clapped. \"Look, I can {S}!\" {H} called. <happy H> <learned H>"),
    goal("dream come true", "{X} who loves to {S}|{X} who dreams of {S.doing}|{X} who cannot {S}", "dreams can come true if you work for them|everyone can learn something new",
         "{H.First} had a big dream. {H.He} wanted to {S}. {H.He} watched how others {S.did}, and {H.he} thought, \"If only I could {S} too!\"",
         "So {H} went to {F.a}. \"Please teach me to {S},\" {H} said. \"It is hard,\" {F} said. \"Are you ready?\" \"Yes!\" said {H}. The first time {H} tried to {S}, everything went wrong, and they both laughed.",
         "\"Try it like this,\" {F} said and {S.did} very slowly. {H} looked closely. Then {H} tried again. [It was better!|It almost worked!] {H.He} practiced {S.where} until the stars came out.",
         "Soon {H} could {S} better than anyone {P.in}. Other children came and asked, \"Can you teach us to {S} too?\" \"Of course,\" {H} said. <happy H> <learned H>"),
    goal("own way", "{X} who cannot {S}|{X} who is bad at {S.doing}|{X} who tries to {S}", "you can do things in your own way|being different is good",
         "{H.First} wanted to {S} like all the others. But when {H} tried to {S}, it looked so funny that everyone laughed. {H.His} [feet were too big|nose was in the way|hands were too small]. <sad H>",
         "\"I will never {S} like you,\" {H} told {F.First}. {F} said, \"You do not have to {S} like me. {S.First} like you!\" {H} thought about it all night.",
         "The next day, {H} tried to {S} in {H.his} own way. {H.He} {S.did} {S.where}, a little slower and a little crooked, but with a big smile. \"Hm,\" {H} said. \"That feels good!\"",
         "The others came and looked. \"How do you do that?\" they asked. \"Nobody can {S} like you!\" Now they all wanted to {S} like {H}. <happy H> <learned H>"),
    goal("big show", "{X} who will {S} in a show|{X} and a big show|{X} who wants to {S} for everyone", "it is normal to be nervous|a friend gives you courage",
         "There was a big show {P.in}. {H.First} wanted to {S} in front of everyone. {H.He} practiced every day. \"I will {S} so well that they all clap,\" {H} said.",
         "But when the day of the show came, {H} was afraid. {H.His} knees shook. \"I cannot {S} now,\" {H.he} whispered. \"They will all look at me.\" {H} hid behind the curtain.",
         "{F.First} found {H}. \"Just look at me,\" {F} said. \"{S.First} for me, like you always do.\" {H} went out. {H.He} looked only at {F}. Then {H} began, and {H.he} {S.did} better than ever before.",
         "Everyone clapped and called, \"More, more!\" So {H} {S.did} again. \"I did it,\" {H} told {F}. \"I was so afraid to {S}, and now I am so happy.\" <learned H>"),
    # something the hero fears
    fear("fear with a friend", "{X} who learns not to fear {A}|{X} and {A}", "being brave means trying even when you are scared|a friend can make you brave",
         "<once> there was {H.a} who was afraid of {A}. When {H} thought of {A}, {H.his} knees shook. The others laughed. \"Who is afraid of {A}?\" they said. <sad H>",
         "{H} told {F.First} about it. \"I am so afraid of {A},\" {H} said. {F} did not laugh. \"I will go with you,\" {F.he} said. \"We will look at {A} together, and I will hold your hand.\"",
         "So they went. {H.s} heart beat fast. \"There!\" whispered {F}. {H} closed {H.his} eyes. Then {H.he} opened one eye and looked at {A}. Nothing bad happened. {H} opened the other eye too.",
         "\"Oh,\" {H} said. \"Is that all?\" It was not so bad. {H} even smiled a little. After that, {H} was not afraid of {A} anymore, or only a tiny bit. <learned H>"),
    fear("fear must go", "a brave {H.kind} who is afraid of {A}|{X} who runs away from {A}", "you are braver than you think|when a friend needs help, fear gets small",
         "{H.First} was not afraid of [wolves or bears|storms or ghosts]. But {H.he} was very afraid of {A}. Nobody knew it. When someone talked about {A}, {H} quickly went away.",
         "<day>, {F.First} cried for help. To get to {F}, {H} had to face {A}. {H} stopped. {H.He} was so afraid! \"I cannot do it because of {A},\" {H} thought. But {F} cried again.",
         "\"{F} needs me,\" said {H}. {H.He} took a deep breath and [sang a song|counted to three]. Then {H} went on, step by step, and did not think of {A}. {H.He} got to {F} and took {F.his} hand.",
         "\"You saved me!\" said {F}. \"And you were not even afraid of {A}.\" \"I was very afraid,\" {H} said. \"But you are my friend.\" <happy H> <learned H>"),
    fear("fear small steps", "{X} who learns to be brave|how {X} lost the fear of {A}", "every big step begins with a small one|it is okay to be scared",
         "{H.First} was scared of {A}. {H.He} could not sleep when {H.he} thought of {A}. [\"Help!\" {H} cried every night.|{H} hid under the blanket.] {E} came and sat on the bed.",
         "\"Tell me about {A},\" said {E}. {H} told everything. \"Let us paint a picture of {A},\" {E} said. {H} painted it big and black. Then {H} painted a red nose on it. That looked so funny that {H} had to laugh.",
         "The next day, {H} went one step closer to {A}. {H.He} ran away. The day after that, {H} went two steps closer. {H.His} hands were cold, but {H.he} stayed. \"That was brave,\" said {E}.",
         "After a week, {H} was not scared anymore. \"Hello,\" {H} said and laughed. \"I know you now!\" That night {H} slept well and did not think of {A} at all. <learned H>"),
    # a place
    spot("day out", "a day {P.in}|a trip {P.to}|{X} who goes {P.to}|{X} and {Y} {P.in}", "the best things are to be shared|there is much to see if you look",
         "<dayout>, {H.First} went {P.to}. {P.Detail}. \"I like the {P.noun},\" {H} said. {H.He} [ran around|sat down|looked at everything].",
         "Then {H} met {F.First}. \"Let us look at the {P.noun} together,\" {F} said. They found [a funny stone|an old boot|a blue feather]. They saw {W.a}, who lived there. \"Welcome to the {P.noun},\" said the {W.kind}.",
         "\"I will show you a secret,\" the {W.kind} said. It led them to the far end of the {P.noun}. There was [a tiny door|a nest with three eggs|a hidden spring]. {H} was very quiet. \"I did not know that the {P.noun} had a secret,\" {H.he} whispered.",
         "When the sun went down, {H} and {F} had to go home. \"Goodbye, dear {P.noun},\" {H} said. \"We will come back.\" <happy H> <END H F>"),
    spot("cleaning up", "{X} who saves the {P.noun}|{X} who cleans up|a dirty {P.noun}", "we have to take care of our world|many small hands make a clean place",
         "{H.First} loved the {P.noun}. But one day there was trash everywhere in the {P.noun}. There were old cans and papers and broken bottles. \"Who did this?\" {H} said. <sad H>",
         "{H} began to clean up the {P.noun}. {H.He} picked up one paper, and then another one. It was so much! {F.First} came by. \"What are you doing?\" \"I am cleaning the {P.noun},\" {H} said. \"Can you help me?\"",
         "{F} helped. Then {W.a} came and helped too. Soon everybody came to the {P.noun} with a bag. They sang while they worked. {H} found [an old coin|a lost ring] in the dirt.",
         "In the evening, the {P.noun} was clean and beautiful. They put up a sign: \"Please keep our {P.noun} clean.\" They had a big party there, {H} and {F} and all the others. <learned H>"),
    spot("new home", "{X} who lives {P.in}|{X} who moves to a new home|{X} who wants to live {P.in}|a new home {P.in}", "home is where your friends are|a new place needs a little time",
         "{H.First} had a new home. It was {P.in}. {P.Detail}. But {H} did not like the {P.noun}. \"I miss my old home,\" {H.he} said. \"I know nobody here.\"",
         "<day>, {H} walked around the {P.noun}. {H.He} saw {F.a}. \"Are you new {P.in}?\" {F} asked. {H} nodded. \"I will show you the best places,\" said {F}. They looked at everything in the {P.noun}.",
         "\"Here you can hide, and here you can see the stars,\" {F} said. {H} began to smile. They played until it was dark. \"Tomorrow I will show you more of the {P.noun},\" said {F}.",
         "That night, {H} lay in bed and listened. \"The {P.noun} is not so bad,\" {H.he} thought. Soon {H} loved the {P.noun}. It was home. <learned H>"),
    spot("night out", "a night {P.in}|{X} who sleeps {P.in}|{X} who gets lost {P.in}|{X} who camps {P.in}|getting lost {P.in}", "there is always someone who can help|the night is not so dark with a friend",
         "<dayout>, {H.First} played {P.in} and forgot the time. Then it got dark. The {P.noun} looked so different at night! \"Which way is home?\" {H} said. {H.He} was lost. <scared H>",
         "{H} walked through the {P.noun}. Hoo, hoo! What was that? Something moved. It was only {F.a}. \"What are you doing {P.in} so late?\" {F} asked. \"I am lost,\" said {H}.",
         "\"I know the {P.noun} well, but it is too dark now,\" said {F}. \"Stay with me tonight.\" {F} made a small bed of leaves. {H} and {F} looked at the stars and told stories until they fell asleep.",
         "In the morning, {F} showed {H} the way out of the {P.noun}. {E} was waiting at home. \"I was so worried!\" \"I was safe,\" {H} said. \"I have a friend {P.in} now.\" <learned H>"),
    # something big to see, to reach or to care for
    sight("far away", "{X} who wants to see {G.a0}|{X} who looks for {G.a0}|a trip to {G.a0}|{X} who finds {G.a0}", "the way is part of the fun|you should not give up your dream",
         "<once> there was {H.a} who had never seen {G.a0}. \"I want to see {G.a0},\" {H} said. \"It is far away,\" said {E}. \"But if you go straight ahead, you will find it.\"",
         "{H} packed {D.a} and went off to see the {G}. On the way, {H.he} met {F.First}. \"I want to see the {G} too,\" said {F}. \"May I come?\" They walked together for [three days|a long time]. Their feet hurt.",
         "\"Maybe there is no {G},\" {F} said. They sat down, tired and sad. Then {H} looked up. There, far off, was the {G}! {H} and {F} ran and ran until they stood before it.",
         "\"It is so big and beautiful,\" said {H}. They looked at the {G} until the sun went down. {H} painted a picture of the {G} for {E}. <happy H> <learned H>"),
    sight("saving it", "{X} who saves {G.a0}|{X} who helps {G.a0}|a sad {G}|{X} who loves {G.a0}", "even the small can help the big|kindness is never too small",
         "{H.First} lived near {G.a0}. Every morning, {H} said, \"Good morning, {G}!\" But one day the {G} looked gray and sad. \"What is wrong, dear {G}?\" asked {H}.",
         "The {G} could not speak, but {W.a} could. \"The {G} is sad because nobody looks at it anymore,\" said the {W.kind}. \"They are all too busy.\" {H} thought about it. \"We must do something for the {G},\" {H.he} said.",
         "{H} went from door to door. \"Come and see the {G}!\" {H.he} called. \"I have no time,\" said the first. But {F.First} came. Then others came too, with music and lamps. They all sat around and looked at the {G}.",
         "And then the {G} began to shine, brighter than ever. \"Oh!\" everyone said. From then on, there was a feast for the {G} every year. {H} was the happiest of all. <learned H>"),
    sight("what is it", "{X} who asks about {G.a0}|why there is {G.a0}|{X} who wants to know about {G.a0}|{X} and the secret of {G.a0}", "it is good to ask questions|nobody knows everything",
         "{H.First} wanted to know everything about the {G}. \"Why is there {G.a0}?\" {H} asked {E}. \"I do not know,\" {E} said. \"I have never been near the {G}.\"",
         "{H} went to {F.First}. \"Tell me about the {G},\" {H} said. \"Some say a giant made the {G}. Some say it was always there,\" {F} said. \"Let us go and ask the {G}.\" So they went on a long walk.",
         "When they came to the {G}, {H} called, \"Where do you come from, {G}?\" It was very quiet. Only the wind blew. \"It does not answer,\" {H} said. \"Listen,\" whispered {F}. \"Can you hear it?\"",
         "{H} listened to the wind. It sang a soft song around the {G}. {H} did not understand the words, but it was beautiful. \"Now I know the {G} a little,\" said {H}. <END H F>"),
    dict(name="natural hero", keep="G", ask="{G.a0}|{G.a0}|a lonely {G}|a sad {G}|a {G} who wants a friend|{G.a0} who makes a friend", moral="even the biggest need a friend|everybody is good for something", text=[
        "<once> there was [a lonely|a sad|a quiet|a proud] {G}. It had no friends. [\"I am so far away from all,\" said the {G}.|Everyone was afraid of the {G}.] Every night, the {G} was very quiet and listened.",
        "<day>, {H.a} came by. \"Hello, {G},\" said {H}. \"Why are you so sad?\" \"Nobody plays with me,\" the {G} said. \"They think I am [too big|too wild|too cold].\" {H} was not afraid. {H.He} sat down near the {G}.",
        "\"I will tell you a story,\" said {H}. The {G} had never heard a story. It laughed so much that the ground shook. Others heard the {G} laugh. \"It does not sound wild at all,\" they said. They came closer, step by step.",
        "Soon there were many friends around the {G}. They sang and danced. The {G} was never lonely again, and {H} came every day. <learned H>"]),
    # what the hero is like
    trait("lazy", "being lazy", "a little work makes rest sweeter|when we all help, there is more for everyone",
          "<once> there was {H.a}. {H.He} was so lazy that {H.he} did not even [brush {H.his} hair|open {H.his} eyes to eat]. \"I will do it tomorrow,\" the lazy {H.kind} always said.",
          "{F.First} worked hard and put food away for the winter. \"Come and help,\" {F} said. \"I am too tired,\" said the lazy {H.kind} and went back to sleep.",
          "Then winter came. It was cold, and {H} had nothing to eat. {H.His} tummy hurt. {H} knocked at {F}'s door. \"I was too lazy to work,\" {H.he} said. \"Now I am so hungry.\"",
          "{F} let {H} in and gave {H.him} soup. \"Tomorrow we will work together,\" {F} said. And {H} got up early and worked all day. {H} was not lazy anymore. <learned H>"),
    trait("hungry", "being hungry|looking for food|{X} who looks for food", "good friends share what they have|food tastes best when shared",
          "<once> there was {H.a}. {H} was hungry. Rumble, rumble went {H.his} tummy. \"I must find something to eat,\" said the hungry {H.kind}.",
          "{H} looked under a stone. There was no food. {H.He} looked up in the trees. The apples were too high. \"I am so hungry,\" {H} said. <sad H>",
          "Then {H} smelled something good. {F.First} sat there with {D.a}. \"You look hungry,\" {F} said. \"Come and eat with me.\" The hungry {H.kind} sat down, and they shared the {D.short}.",
          "It tasted so good! {H} was not hungry anymore. \"Thank you,\" said {H}. \"Tomorrow I will find food for both of us.\" <learned H>"),
    trait("sad", "being sad|cheering someone up|{X} who cannot laugh", "it is all right to be sad|a friend makes sad days better",
          "<once> there was {H.a}. {H} was sad, and {H.he} did not know why. The sun was shining, but the sad {H.kind} only looked at the ground.",
          "{F.First} wanted to make {H} laugh. {F.He} stood on {F.his} head. But {H} was still sad. {F} put a pot on {F.his} head and danced. {H} did not laugh.",
          "\"You do not have to laugh,\" said {F}. {F.He} sat down next to the sad {H.kind} and held {H.his} hand. They sat there for a long time. Then {H} began to cry, and after that {H} felt better.",
          "A butterfly landed on {F}'s nose. Achoo! {F} fell over backwards. And {H} laughed! {H} was not sad anymore. \"Thank you for staying with me,\" {H} said. <learned H>"),
    trait("lonely", "being lonely|{X} who wants a friend|{X} who has no friends|{X} who looks for a friend", "a friend can be found anywhere|it is good to say hello",
          "<once> there was {H.a} who had no friends. Every day the lonely {H.kind} sat {P.in} and looked at the others. \"They have so much fun,\" {H} thought. \"Nobody asks me.\"",
          "<day>, the lonely {H.kind} wrote a letter. \"I am looking for a friend,\" it said. {H} let it fly in the wind. {H.He} waited all day. Nobody came. <sad H>",
          "But {F.First} found the letter. \"I am looking for a friend too,\" said {F}. {F.He} walked and asked everywhere until {F.he} found the lonely {H.kind}. \"Did you write this letter?\" {F} asked. \"Yes,\" said {H}.",
          "They played all day long. {H} was not lonely anymore. \"My letter flew to the right friend,\" {H} said. <happy H> <learned H>"),
    trait("greedy", "being greedy|{X} who wants everything|{X} who wants more and more", "it is good to be happy with what you have|who wants everything may lose it all",
          "<once> there was {H.a}. {H} was greedy. When there was one cake, {H} wanted two. When there were two, the greedy {H.kind} wanted all of them. \"More, more!\" {H} said.",
          "<day>, {H} found a tree full of golden apples. \"You may take one,\" said the tree. But the greedy {H.kind} took them all and put them into a big bag. {F.First} asked, \"May I have one?\" \"No, all mine!\" said {H}.",
          "The bag was so heavy that {H} could not run. On the bridge, it fell into the river. Splash! All the apples were gone. The greedy {H.kind} sat down and cried.",
          "{F} came with one small apple. \"We can share this one,\" said {F}. {H} was ashamed. {H.He} took half and said thank you. From then on, {H} was not greedy anymore. <learned H>"),
    trait("curious", "being curious|{X} who asks many questions|{X} who opens a box|a curious friend", "it is good to ask questions|you should look before you jump",
          "<once> there was {H.a}. {H} was so curious that {H.he} looked into every pot and every box. \"What is in there?\" the curious {H.kind} asked all day.",
          "<day>, {H} found a big box with a note. \"Do not open,\" it said. \"Why not?\" thought the curious {H.kind}. {H.He} walked around the box three times. Then {H} opened it just a little.",
          "Puff! Hundreds of bees came out. Bzzz! {H} ran and jumped into the pond. {F.First} helped {H} out. \"Why did you open it?\" \"I was too curious,\" said {H}. {H.His} nose was big and red.",
          "\"It is good to be curious,\" {F} said, \"but you can ask first.\" {H} nodded. The next time the curious {H.kind} found a box, {H.he} asked {E}. It was full of cookies! <learned H>"),
    trait("brave", "being brave|courage|{X} who saves the village|{X} who saves a friend", "you do not have to be big to be brave|being brave means helping others",
          "<once> there was {H.a}. {H} was small, but {H.he} was brave. \"If someone needs help, call me,\" the brave {H.kind} said.",
          "<day>, a big {monster} came to the village. Everyone ran and hid. \"Who will help us?\" they cried. \"I will,\" said the brave {H.kind}. {H.s} knees shook a little, but {H.he} went out.",
          "{H} stood in front of the {monster}. \"Why do you scare us?\" {H} asked. The {monster} sat down and held its foot. \"I have a thorn in my foot, and nobody helps me,\" it said. The brave {H.kind} pulled the thorn out.",
          "\"Thank you,\" said the {monster}. \"You are the first who was not afraid.\" \"I was afraid,\" {H} said, \"but I wanted to help.\" All the people clapped for the brave {H.kind}. <learned H>"),
    trait("shy", "being shy|{X} who does not dare to speak", "you can take all the time you need|a quiet voice can be heard too",
          "<once> there was {H.a}. {H} was so shy that {H.he} hid behind a tree when someone came. The shy {H.kind} only spoke to the flowers.",
          "<day>, {F.First} sat down by the tree and sang. {H} listened. It was a lovely song. But {F} forgot the last words. The shy {H.kind} knew them! {H.He} whispered the words from behind the tree.",
          "\"Who is there?\" asked {F}. Nobody answered. {F} sang again and stopped at the same place. The shy {H.kind} sang the last words, very softly. \"What a beautiful voice!\" {F} said. \"Please come out.\"",
          "{H} came out, one step, and then another. {H.His} face was red. They sang together, first softly and then loudly. {H} was still a little shy, but not with {F}. <learned H>"),
    trait("sleepy", "falling asleep|bedtime|{X} who sleeps all day|{X} who cannot stay awake", "there is a time to sleep and a time to play|good sleep makes a good day",
          "<once> there was {H.a}. {H} was always sleepy. The sleepy {H.kind} fell asleep at breakfast. {H.He} fell asleep on the swing and in the bathtub.",
          "\"Why are you so sleepy?\" asked {F.First}. \"I do not know,\" said {H} and yawned. <day>, they were playing hide and seek, and the sleepy {H.kind} fell asleep {Q1}. {F} looked for {H} until the evening.",
          "That night {F} stayed with {H} to see what was wrong. {H} did not go to bed! {H.He} sat at the window and counted the stars. \"One hundred, one hundred and one.\" \"That is why you are sleepy,\" said {F}.",
          "\"Let us count the stars together, but only to ten,\" {F} said. So they did, and then {H} slept all night. In the morning, {H} was not sleepy at all. <learned H>"),
    trait("grumpy", "being grumpy|{X} who never smiles|a bad mood", "a smile comes back to you|being kind can change a bad day",
          "<once> there was {H.a}. {H} was grumpy from morning to night. \"Go away!\" said the grumpy {H.kind} to everyone. \"The sun is too bright. The birds are too loud.\"",
          "{F.First} moved in next door. \"Good morning!\" said {F}. \"Hmpf,\" said the grumpy {H.kind}. The next day {F} brought flowers. \"Hmpf,\" said {H}, but {H.he} put the flowers in water.",
          "Then one day {F} did not come. {H} looked out of the window. It was so quiet. {H} went over and knocked. {F} was ill in bed. The grumpy {H.kind} made soup and grumbled, \"Eat this.\"",
          "\"You are kind,\" said {F}. \"I am not kind, I am grumpy,\" said {H}. But then {H.he} smiled, a tiny smile first and then a big one. <learned H>"),
    trait("clever", "being clever|{X} who has a good idea|{X} who tricks a wolf", "a good idea is stronger than big teeth|you should think before you run",
          "<once> there was {H.a}. {H} was not strong, but {H.he} was clever. When something was hard, the clever {H.kind} sat down and thought.",
          "<day>, a hungry wolf caught {F.First}. \"Now I will eat you,\" said the wolf. The clever {H.kind} saw it. \"Stop!\" said {H}. \"{F} is much too thin. Behind the hill there is a much bigger meal.\"",
          "\"Where?\" asked the wolf. \"Look into this well,\" said the clever {H.kind}. The wolf looked down and saw a big round cheese. It was only the moon in the water! \"It is mine!\" cried the wolf and jumped. Splash!",
          "{F} was free. The wet wolf ran away and never came back. \"You are so clever,\" said {F} and hugged {H}. They laughed all the way home. <learned H>"),
    trait("noisy", "making noise|{X} who is too loud|being quiet", "there is a time to be loud and a time to be quiet|you should think of others too",
          "<once> there was {H.a}. {H} was very noisy. Boom, boom! The noisy {H.kind} banged on pots from morning to night. \"Please be quiet,\" said {E}. But {H} did not listen.",
          "{F.First} had a new baby, and the baby could not sleep. The birds flew away. Nobody came to visit the noisy {H.kind} anymore. {H} was alone. <sad H>",
          "\"They do not like me,\" said {H}. \"They like you, but you are too noisy,\" said {E}. So {H} walked on tiptoe. {H.He} learned to hum a soft song. The baby heard it and fell asleep.",
          "Then one night there was a fire. \"Wake up!\" Boom, boom, boom! The noisy {H.kind} banged on the pots, and everyone woke up and was safe. \"Now it was good to be noisy,\" said {F}. <learned H>"),
    trait("proud", "being proud|{X} who thinks {H.he} is the best|showing off", "nobody is the best at everything|it is better to be kind than to be the best",
          "<once> there was {H.a}. {H} was very proud. \"Look at me, I am the most beautiful {H.kind} of all,\" {H} said. The proud {H.kind} looked into every pond and every window.",
          "\"Will you play with us?\" asked {F.First}. \"No, I would get dirty,\" said the proud {H.kind}. {H} walked by with {H.his} nose in the air. So {H} did not see the puddle. Splash!",
          "{H} lay in the mud. Everyone looked. The proud {H.kind} wanted to cry. But {F} did not laugh. {F} jumped into the mud too! \"Now we are both dirty,\" {F} said. \"It is fun!\"",
          "{H} looked at {F} and began to laugh. They splashed and played all day. {H} was dirty from head to toe, and {H} was happy. {H} was not so proud anymore. <learned H>"),
    trait("messy", "cleaning up|tidying up|a messy room|{X} who does not clean up", "a clean room makes room to play|it is easy to find things in their place",
          "<once> there was {H.a}. {H} was messy. There were socks on the lamp and bread under the bed. \"Clean up,\" said {E}. \"Later,\" said the messy {H.kind}.",
          "<day>, {F.First} came and wanted to go to the fair with {H}. \"I only have to find my other shoe,\" said the messy {H.kind}. {H.He} looked under the clothes. {H.He} looked behind the toys. It was not there!",
          "{F} waited and waited. The fair was almost over. {H} was sad. \"My room is too messy,\" {H.he} said. \"I will help you,\" said {F}. They cleaned up together, one thing after the other.",
          "There was the shoe! And there were three lost balls and a cookie. They ran to the fair and got the last ride. After that, {H} was not so messy anymore. <learned H>"),
]


def idea(name, asks, moral, *text):
    return dict(name=name, keep="B", ask="{B}|{B}|{X} and {B}|" + asks, moral=moral, text=list(text))


PLOTS += [
    # a word that is neither a thing nor a place: love, winter, music
    idea("three answers", "{X} who wants to know what {B} is|what {B} is|{X} who asks about {B}|the meaning of {B}", "everyone sees it in another way|it is good to ask questions",
         "<once> there was {H.a} who heard the word {B}. \"What is {B}?\" {H} asked. \"I cannot tell you,\" {E} said. \"Go and ask the others about {B}.\" So {H} went out into the world.",
         "First {H} met {W.a}. \"What is {B}?\" {H} asked. \"For me, {B} is [a warm nest|a long sleep|a full tummy],\" said the {W.kind}. \"Hm,\" {H} said and went on.",
         "Then {H} met an old man. \"{B.First}?\" he said. \"When I think of {B}, I see [my garden|my grandma's kitchen|the open sea].\" Then {H} met {F.First}. \"{B.First} is when we are together,\" said {F}.",
         "{H} came home in the evening. \"They all told me something else about {B},\" {H.he} said. {E} smiled. \"And what is {B} for you?\" {H} thought for a long time. \"{B.First} is like a song,\" said {H}. \"Everyone sings it in another way.\" <END H F>"),
    idea("no liking", "{X} who does not like {B}|{X} who hates {B}|{X} who loves {B}|{X} who learns to like {B}|{X} and {Y} who talk about {B}", "you should give things a second chance|a friend can show you new things",
         "{H.First} did not like {B}. \"{B.First}? No, thank you!\" {H} said every time. {F.First} was different. {F} loved {B} more than anything.",
         "\"Why do you not like {B}?\" asked {F}. \"I do not know,\" {H} said. \"I just do not like it.\" \"Then let me show you,\" said {F}. \"Give {B} one day. Only one!\" {H} sighed. \"All right, one day.\"",
         "They went {P.to}, and {F} told {H} everything about {B}. {F} sang about {B} and painted it in the sand. It was so funny that {H} had to laugh. \"So that is {B},\" said {H}. \"I never looked at it like that.\"",
         "In the evening, {H} was quiet. \"Well?\" asked {F}. \"I think I like {B} now, just a little,\" said {H}. The next day {H} came early and called, \"Wake up! I want more of it!\" <learned H>"),
    idea("the great day", "a day of {B}|{X} who dreams of {B}|{X} who waits for {B}|{X} who celebrates {B}|how {B} came to the village", "some things grow when you share them|it is good to look forward to something",
         "{H.First} had a dream about {B}. In the dream, everyone was happy. When {H} woke up, {H.he} ran to {F.First}. \"I want a great day of {B} for everyone!\" {H} said. \"A day of {B}? What a good idea!\" said {F}.",
         "They worked all week. {H} painted a big sign: \"{B.First} for all!\" {F} hung lamps in the trees. {W.A} asked, \"Can I help with the day of {B}?\" \"Yes, please,\" said {H}.",
         "But on the great day it rained, and nobody came. <sad H> \"Nobody cares about {B},\" {H} said. \"Wait,\" said {F}. \"Listen!\" There was music, far away. They all came after all, with umbrellas and cakes!",
         "They danced in the rain until late at night. \"That was the best day of {B} ever,\" everyone said. {H} fell asleep with a smile and dreamed of {B} again. <END H F>"),
    # more for a thing
    thing("the swap", "{X} who trades {T.a0}|{X} who gives away {H.his} {T}|{X} who swaps {H.his} {T}", "you should think before you trade|what you love is worth more than gold",
          "{H.First} had {T.a}. It was nice, but {H} wanted something new. \"Who wants to trade with me?\" {H} called. \"I give {T.a} for something better!\"",
          "{F.First} gave {H} a [big drum|bag of nuts|golden hat] for the {T}. But it was not so nice. {H} traded it for a [whistle|spoon|hen]. {H} traded that for a [red button|feather]. In the end, {H} had only a little stone. \"I want my {T} back,\" {H} said.",
          "{H} went to {F}. {F} sat there with the {T} and smiled. \"I only have this stone,\" {H} said, \"but I miss my {T} so much.\" A tear fell on the stone. {F} looked at the {T}, and then at {H}.",
          "\"Take your {T},\" said {F}. \"I only borrowed it, because I knew you would miss it.\" {H} held the {T} tight. \"You are a real friend,\" {H} said. They used the {T} together, and {H} never traded it again. <learned H>"),
    thing("secret of the thing", "the secret of {T.a0}|a mysterious {T}|{X} who finds a secret in {T.a0}|a strange {T}|a treasure in {T.a0}", "it is worth looking twice|the best treasures are shared",
          "In the attic, {H.First} found {T.a}. It was full of dust. There was something strange about this {T}. When {H} shook it, it went, \"Clonk!\" \"There is a secret in the {T},\" {H} whispered.",
          "{H} ran to {F.First}. \"Look, a mysterious {T}!\" They turned the {T} around. On the back, there were small letters. \"Go to the old oak,\" {F} read. They took the {T} and went to the old oak.",
          "Under the oak, they dug a hole. There was a tiny key! It fit into a little hole in the {T}. Click! Out of the {T} fell a note. \"Whoever finds this {T} has found a friend for the way,\" it said.",
          "{H} looked at {F}, and {F} looked at {H}. \"That is true,\" they said and laughed. They put the {T} in a safe place and wrote a new note for the next one. <learned H>"),
    thing("flying there", "{X} who flies with {T.a0}|{X} on a flying {T}|a flying {T}|{X} who goes on an adventure with {T.a0}|an adventure with {T.a0}", "the world is full of wonders|home is best after a long way",
          "One night, {H.First} heard a voice. \"Sit on me,\" said the {T}. {H} rubbed {H.his} eyes. Did the {T} really speak? {H} sat down on it, and whoosh, the {T} flew out of the window!",
          "They flew over the roofs, {H} and the flying {T}. \"Where are we going?\" {H} asked. \"To the stars,\" said the {T}. {W.A} looked up from below and could not believe it. \"A {T} in the sky!\" it cried.",
          "High up, it was very quiet. {H} touched a star. It was [warm|cold] and made a soft sound. But then a storm came, and the {T} began to shake. \"Hold on tight!\" said the {T}. {H} was afraid, but {H.he} did not let go.",
          "The {T} flew through the clouds and down, down, down, back into the bed. In the morning, the {T} stood in its place and did not say a word. But there was star dust on it. {H} smiled. <END H F>"),
]

# sentences before a plot: a story may begin with anything and still go on with its own plot
ANY = """[It was a sunny day.|It was a cold, gray morning.|The wind blew around the house.|Something strange happened last week.|This is a true story.]
[It all began on a Monday.|The sun was high in the sky.|It was raining.|It was a quiet night.|It was very hot that day.|It was early in the morning.]
[Everyone was busy that day.|Winter had come.|Spring had come at last.|The leaves were falling.|It was Sunday.|The night was dark.|Snow was falling.]
When {H.First} [woke up|came home|opened the window|looked outside], [it was raining|the sun was shining|everything was quiet|the birds were singing].
{H.First} [lived|was|sat|played] {P.in}.
{H.First} [walked|went|ran|came] {P.to}.
{H.First} had a problem.
{H.First} was {H.an}.
One day, {H.a} was {P.in}.
One day, {H.a} went {P.to}.
One day, {H.a} [woke up early|was at home|was out for a walk].
[The|One] {H.trait} {H.kind} [lived|was|sat] {P.in}.
{H.a} [lived|was|sat] {P.in}.
There was [once|] {H.a}.
There was [once|] {H.a} who lived {P.in}.
The {P.noun} was [quiet|empty|full of light] that day. {H.First} was there too.
{H.First} and {E} lived {P.in}.
[\"Good morning!\"|\"Oh no!\"|\"What a day!\"] {H.First} said.
At night, {H.First} [looked at the stars|could not sleep|sat at the window].
Nobody knew {H.First} very well.
Everyone knew {H.First}."""
PAIR = """{H.First} and {F} walked {P.to}.
{H.First} and {F} were {P.in}.
{H.First} and {F} lived {P.in}.
{H.First} and {F} [were neighbors|were friends|met every day].
{H.a} and {F.a} lived {P.in}.
{H.a} and {F.a} [were friends|were neighbors|met every day].
There was once {H.a} who had a friend, {F.a}.
One day, {H.a} met {F.a} {P.in}.
One day, {H.a} and {F.a} went {P.to}.
It was [a sunny|a rainy|a windy|a cold] day. {H.First} and {F} were {P.in}."""
OPENERS = {"any": ANY.split("\n"), "F": PAIR.split("\n")}
