# SPDX-License-Identifier: MIT
"""Word lists of the story world."""


def words(text):
    return [w.strip() for w in text.replace("\n", " ").split(",") if w.strip()]


GIRLS = words("""Lily, Anna, Mia, Sara, Amy, Zoe, Ella, Ruby, Nina, Ivy, Rosie, Sue, Jill, Molly, Emma, Kate, Daisy, Jane,
Lola, Grace, Alice, Lucy, Mary, Beth, Clara, Eva, Hazel, June, Kim, Luna, Maya, Nora, Olive, Penny, Rose, Sophie, Tess,
Wendy, Yara, Bella, Cora, Dora, Elsie, Fay, Greta, Hope, Iris, Julia, Kira, Leah, Mina, Polly, Sally, Tina, Poppy""")
BOYS = words("""Tom, Ben, Sam, Max, Tim, Jack, Leo, Finn, Bob, Joe, Oscar, Luke, Noah, Billy, Mark, Jim, Fred, Harry, Adam,
Alex, Bill, Carl, Dan, Eli, Felix, George, Henry, Ian, Jake, Kai, Liam, Milo, Nick, Owen, Paul, Roy, Sid, Theo, Toby,
Walter, Zack, Andy, Charlie, David, Ethan, Hugo, Ivan, Jamie, Kevin, Marco, Omar, Peter, Ravi, Simon, Will""")
PET_NAMES = words("""Pip, Coco, Max, Bella, Fluffy, Spot, Teddy, Momo, Biscuit, Pepper, Sunny, Bubbles, Ziggy, Button, Nibbles,
Patch, Pudding, Rusty, Shadow, Snowy, Tilly, Twinkle, Waffles, Whiskers, Bruno, Chip, Dash, Fern, Gus, Honey, Jojo, Kiki,
Lulu, Mimi, Nutmeg, Olly, Peanut, Quill, Rocky, Scout, Tango, Zippy, Benny, Dot, Fizz, Hazel, Misty, Otto, Pebble, Willow""")
SYLLABLES = words("ba, bo, da, di, fe, fo, ga, go, ka, ki, la, li, lo, ma, mi, mo, na, ni, pa, po, ra, ri, ro, sa, ta, ti, to, va, za, zo")
SYLLABLE_ENDS = words("n, m, l, r, k, x, ly, na, by, do, nny, p, ra")

ANIMALS = words("""cat, dog, rabbit, bear, fox, mouse, duck, frog, squirrel, turtle, lion, elephant, monkey, owl, hedgehog, pig,
horse, cow, sheep, goat, bee, butterfly, snail, penguin, deer, wolf, giraffe, zebra, tiger, hen, puppy, kitten, ladybug,
parrot, mole, beaver, otter, badger, raccoon, panda, koala, kangaroo, camel, hippo, rhino, crocodile, lizard, ant, worm,
spider, crow, robin, swan, goose, rooster, chick, lamb, pony, donkey, hamster, bunny, bat, bird, caterpillar, cricket,
firefly, peacock, flamingo, sloth, llama, moose, skunk, leopard, cheetah, gorilla, bluebird, duckling, toad, snake""")
WATER_ANIMALS = words("fish, whale, dolphin, crab, octopus, seal, shark, starfish, seahorse, goldfish")
CREATURES = words("""dragon, unicorn, fairy, robot, giant, elf, dinosaur, snowman, monster, ghost, mermaid, troll, alien, goblin,
wizard, witch, teddy bear, toy soldier, scarecrow, gnome""")
PEOPLE = words("""princess, prince, king, queen, farmer, baker, pirate, sailor, painter, clown, doctor, gardener, fisherman, knight,
old man, old woman, teacher, chef, firefighter, astronaut, shoemaker, mailman, builder, singer, driver, shepherd, nurse, scientist,
detective, magician, captain, pilot, dentist, librarian, tailor, clockmaker, cowboy""")
FEMALE = set("princess queen hen witch mermaid nurse cow".split()) | {"old woman"}
MALE = set("prince king rooster wizard fisherman shepherd mailman cowboy knight".split()) | {"old man"}

TRAITS = words("""little, small, brave, shy, clever, funny, kind, tiny, happy, lonely, curious, young, old, grumpy, silly, gentle,
friendly, quiet, playful, sleepy, busy, cheerful, careful, proud, lazy, hungry, polite, noisy""")
COLORS = words("red, blue, green, yellow, pink, purple, orange, white, brown, golden, silver, black")
LOOKS = words("big, little, small, shiny, old, new, pretty, soft, round, tiny, special, strange, bright, long, tall, striped")

# name | kind | what one does with it | how it breaks | how it is mended ("-": general words)
THINGS = """
kite|air|flew it high in the sky|its string snapped|tied on a new string
ball|toy|bounced it up and down|it got a hole|put a patch on it
balloon|air|let it float above {H.his} head|-|-
toy boat|toy|sailed it on the water|its sail tore|made a new sail from an old shirt
toy car|toy|rolled it across the floor|a wheel fell off|put the wheel back on
toy train|toy|pushed it along the tracks|a wheel came off|pushed the wheel back on
toy plane|air|made it zoom through the air|its wing cracked|glued the wing back on
doll|toy|gave it a tea party|its arm came off|sewed the arm back on
teddy bear|soft|hugged it every night|its ear came off|sewed the ear back on
drum|music|went boom, boom, boom on it|it got a big hole|covered the hole with strong paper
whistle|music|blew it all day long|it cracked|put some tape on it
guitar|music|played happy songs on it|a string snapped|put on a new string
bell|music|rang it again and again|it stopped ringing|cleaned it and hung it up again
flute|music|played sweet tunes on it|it cracked|put some wax on the crack
music box|music|listened to its soft song|it stopped playing|cleaned the dust out of it
bike|ride|rode it up and down the street|a wheel bent|fixed the wheel
scooter|ride|rode it down the path|a wheel came off|put the wheel back on
wagon|ride|pulled it everywhere|a wheel fell off|put a new wheel on it
sled|ride|slid down the hill on it|it cracked in two|nailed it back together
skateboard|ride|rolled down the street on it|a wheel fell off|put the wheel back on
swing|yard|swung up and down on it|its rope snapped|tied on a new rope
tent|yard|sat inside it and told stories|it got a hole|sewed the hole shut
book|quiet|read it again and again|a page came out|taped the page back in
puzzle|quiet|put the pieces together|a piece went missing|made a new piece from paper
map|quiet|looked at it for a long time|it tore in two|taped it back together
picture|quiet|looked at it and smiled|it tore in two|taped it back together
crayon|art|drew pretty pictures with it|it snapped in two|put some tape around it
paintbrush|art|painted big pictures with it|its handle broke|tied the handle with string
hat|wear|wore it every day|it tore|sewed it with strong thread
scarf|wear|wore it around {H.his} neck|it tore|sewed it with strong thread
coat|wear|wore it when it was cold|a button fell off|sewed the button back on
crown|wear|put it on {H.his} head|it bent|made it round again
necklace|wear|wore it around {H.his} neck|its string broke|put the beads on a new string
ring|wear|wore it and watched it shine|-|-
umbrella|wear|carried it in the rain|it turned inside out|bent it back
mitten|wear|kept warm with it|it got a hole|knitted over the hole
backpack|wear|carried snacks in it|its strap broke|sewed the strap back on
blanket|soft|slept with it every night|it tore|sewed it with soft thread
pillow|soft|put {H.his} head on it every night|it tore and feathers flew out|put the feathers back and sewed it
lamp|home|turned it on every night|it stopped shining|put in a new light
clock|home|listened to it go tick, tock|it stopped ticking|wound it up again
mirror|home|looked into it and made funny faces|it cracked|put it in a new frame
cup|home|drank milk from it|its handle came off|glued the handle back on
basket|home|carried things in it|its handle came off|tied the handle back on
box|home|kept little secrets in it|its lid came off|nailed the lid back on
chair|home|sat on it every day|one leg broke|glued the leg back on
candle|home|watched its warm light|-|-
vase|home|put flowers in it|it broke|glued the pieces together
bucket|tool|carried water in it|its handle came off|tied on a new handle
shovel|tool|dug holes with it|its handle broke|tied the handle with string
ladder|tool|climbed up and down on it|one step broke|nailed on a new step
rope|tool|jumped over it|it snapped|tied a big knot
flashlight|tool|shone it in dark corners|it stopped shining|put in new batteries
telescope|tool|looked at the stars with it|it got dirty|wiped it with a soft cloth
camera|tool|took pictures with it|it stopped clicking|cleaned it with a soft cloth
key|small|kept it in {H.his} pocket|it bent|made it straight again
stone|small|kept it in {H.his} pocket|-|-
shell|small|held it to {H.his} ear|-|-
feather|small|tickled {H.his} nose with it|-|-
coin|small|flipped it in the air|-|-
button|small|kept it in {H.his} pocket|-|-
marble|small|rolled it across the floor|-|-
magic wand|magic|waved it in the air|it cracked|put some tape around it
magic hat|magic|pulled funny things out of it|it tore|sewed it with gold thread
rocket|build|pretended to fly to the moon in it|its nose fell off|glued the nose back on
boat|build|rowed it across the lake|it got a hole|put a board over the hole
truck|build|drove it up and down the road|it stopped moving|fixed the engine
car|build|drove it up and down the road|it stopped moving|fixed the engine
train|build|made it go choo, choo|it stopped moving|fixed the engine
treehouse|build|played in it all summer|one board fell off|nailed the board back on
"""
EXTRA_THINGS = words("""spoon, sock, shoe, boot, pencil, pen, paper plane, leaf, stick, broom, hammer, snow globe, globe, radio, phone,
computer, helmet, glove, belt, ribbon, bow, bag, suitcase, bottle, jar, teapot, pan, pot, plate, rug, fan, anchor, net, flag, badge, medal,
trophy, diamond, pearl, jewel, crystal, lantern, compass, magnet, puppet, mask, cape, slipper, raincoat, sweater, tractor, bus, spaceship,
submarine, helicopter, canoe, raft, trumpet, violin, piano, harp, horn, yo-yo, hoop, notebook, letter, stamp, postcard, card, paper star,
snowball, acorn, pinecone, pebble, nut, seed, pumpkin, wheel, saw, brush, comb, soap, towel, sponge, toothbrush, watch, bracelet, locket,
purse, wallet, cushion, bench, table, door, window, fence, bridge, tower, machine, engine, battery, wire, cookie jar, cake pan, toy bear, toy dog,
toy rabbit, toy horse, toy duck, stuffed elephant, toy robot, block, paint box, sticker, bubble wand, sandbox, bus ticket, magic stone, magic lamp,
magic book, magic ring, magic key, magic pencil, magic carpet, golden egg, snow boot, rainbow scarf, glass slipper, treasure chest, piggy bank""")
FOODS = words("""cake, pie, sandwich, cookie, apple, pizza, pancake, muffin, peach, pear, watermelon, banana, loaf of bread, piece of cheese,
bun, cupcake, orange, donut, pumpkin pie, plum, carrot, waffle, potato, chocolate bar, melon, roll, cheese sandwich, honey cake, apple pie""")
DISHES = words("a cake, a pie, a pizza, some soup, some bread, a pudding, some stew, a honey cake, an apple pie, a chocolate cake, a birthday cake")
TREATS = words("cookies, pancakes, berries, cupcakes, apples, plums, strawberries, cherries, donuts, muffins, nuts, lollipops, bananas, pears")
BUILDS = words("a sandcastle, a tower of blocks, a snow fort, a treehouse, a little house of sticks, a birdhouse, a small boat, a doghouse, a bridge of stones, a rocket of boxes, a castle of cups")
MONSTERS = words("dragon, giant, troll, monster, bear, wolf, ghost, dinosaur, crocodile, tiger, ogre, lion")
# danger | what goes wrong
DANGERS = """
the river|slipped and fell into the water
the old well|slipped and almost fell in
the icy pond|fell through the thin ice
the deep mud|got stuck in the mud
the tall wall|climbed up and could not get down
the big tree|climbed too high and could not get down
the thorny bushes|got caught in the thorns
the dark cave|fell into a hole
"""
# wish | what happens | what is bad about it
WISHES = """
very tall|{H} grew and grew until {H.he} was as tall as a tree.|{H.He} could not fit into {H.his} house, and {H.his} head hit the clouds.
very tiny|{H} got smaller and smaller until {H.he} was as small as an ant.|Everything was so big, and no one could hear {H.his} tiny voice.
a bird|{H} had wings and flew up into the sky.|The wind was cold, and there was no soft bed in the sky.
invisible|No one could see {H.him} anymore.|No one said hello, and no one played with {H.him}.
very rich|There was gold everywhere, even in the bed.|The gold was cold and hard, and no one could eat it.
a king|{H} had a golden crown and sat on a high chair.|The crown was heavy, and there was no time to play.
very strong|{H} could lift a house with one hand.|Every door broke, and every cup fell to pieces.
a fish|{H} had fins and swam in the lake.|The water was dark and quiet, and there was no one to talk to.
a star|{H} was high up in the night sky and shone.|It was so far from everyone, and the sky was very quiet.
very fast|{H} ran as fast as the wind.|{H.He} was always too early, and no one could walk with {H.him}.
grown up|{H} was big and had a job.|There was so much work, and no time to play.
a cloud|{H} was white and soft and floated over the hills.|The wind blew {H.him} far away from home.
"""
PLANTS = words("""flower, sunflower, pumpkin, tomato plant, apple tree, rose, carrot, bean plant, strawberry plant, cherry tree, tulip,
melon, oak tree, lemon tree, corn plant""")
# place | preposition | a thing seen there
PLACES = """
park|in|There were tall trees and a big green lawn
forest|in|The trees were tall and the leaves whispered
garden|in|There were flowers of every color
beach|at|The sand was warm and the waves were blue
river|by|The water ran over smooth stones
lake|by|The water was calm and clear
hill|on|You could see the whole town from there
farm|on|There were cows, hens, and a big red barn
meadow|in|The grass was tall and full of butterflies
village|in|The houses were small and cozy
mountain|on|The air was cold and fresh
cave|in|It was dark and cool inside
pond|by|Green frogs sat on the lily pads
island|on|There were palm trees and white sand
playground|at|There was a slide and two swings
market|at|There were fruits, breads, and shiny fish
castle|in|It had tall towers and long halls
school|at|The rooms were full of books and pictures
library|in|There were books from the floor to the ceiling
zoo|at|There were lions, monkeys, and a sleepy hippo
city|in|The streets were full of cars and people
barn|in|It smelled of sweet hay
jungle|in|Bright birds sang in the vines
desert|in|The sand was hot and yellow
sea|by|The waves rolled in and out
garden shed|in|Old tools hung on the walls
swamp|in|Frogs sang between the reeds
tower|in|Stairs went round and round
bakery|at|It smelled of sweet buns
train station|at|Trains came and went all day
museum|in|There were old bones and golden cups
space station|on|You could see the whole round world from there
moon|on|Everything was gray and quiet
valley|in|A small stream ran through it
field|in|The wind made waves in the grass
woods|in|Soft moss grew under the trees
yard|in|There was a big old tree with a swing
old mill|by|The big wheel went round and round
old bridge|by|The stream sang under it
"""
OUTDOOR = set("park forest garden beach river lake hill farm meadow mountain pond island playground jungle valley field woods yard".split())
SPOTS = words("""under the bed, behind the door, under a big leaf, in a hollow log, behind the couch, under the table, in the tall grass,
on top of the shelf, inside an old boot, behind a big rock, up in a tree, in the laundry basket, under a pile of leaves, in the mud
by the gate, next to the old well, inside a flower pot, under the stairs, in the dog's bed, behind the curtain, beside the pond""")
# to do it | did it | doing it | where
SKILLS = """
swim|swam|swimming|in the lake
ride a bike|rode a bike|riding|in the yard
sing|sang|singing|for everyone
dance|danced|dancing|to the music
paint|painted|painting|on a big paper
bake|baked|baking|in the kitchen
read|read|reading|from a big book
whistle|whistled|whistling|a happy tune
climb trees|climbed trees|climbing|all the way up
jump rope|jumped rope|jumping|in the yard
skate|skated|skating|on the ice
fly|flew|flying|over the trees
play the drum|played the drum|drumming|for everyone
play the piano|played the piano|playing|for everyone
cook|cooked|cooking|in the kitchen
draw|drew|drawing|on a big paper
juggle|juggled|juggling|with three balls
count to ten|counted to ten|counting|out loud
write|wrote|writing|on a sheet of paper
catch a ball|caught a ball|catching|in the park
tie a knot|tied a knot|tying|with a rope
fish|fished|fishing|by the river
knit|knitted|knitting|by the fire
do magic tricks|did magic tricks|practicing|for everyone
play soccer|played soccer|kicking|in the park
"""
# what one is afraid of | when | why | what helps
FEARS = """
the dark|when the light went out|the shadows looked like monsters|a small lamp
thunder|when a storm came|the sky went boom|a warm blanket
the deep water|when {H.he} stood by the lake|the water looked so cold and deep|a hand to hold
high places|when {H.he} looked down|the ground looked so far away|a hand to hold
loud noises|when something went bang|{H.his} ears hurt|a soft hat
the forest at night|when the owls called|the trees looked like giants|a bright lantern
spiders|when a spider came near|it had so many legs|a kind word
being alone|when nobody was near|the house felt so big and empty|a little song
the new school|when the first day came|everyone there was new|a kind smile
big dogs|when a dog barked|it had such big teeth|a kind word
the wind|when it howled at night|it sounded like a ghost|a little song
the tall slide|when {H.he} stood on the top step|it looked so steep|a hand to hold
"""
HELP_ANIMALS = words("wise old owl, kind squirrel, old turtle, friendly bird, gentle deer, little mouse, clever crow, big brown bear, small green frog, busy bee")
PAIRS = words("frogs, mice, rabbits, ducks, bears, birds, cats, dogs, squirrels, foxes, snails, monkeys, penguins, owls, hens, turtles, beetles, hedgehogs, robots, pigs")
VEGETABLES = words("pumpkin, carrot, melon, potato, turnip, cabbage, beet, radish")
VEHICLES = words("train, bus, ship, tram, truck, plane, boat, wagon, spaceship")
JOBS = words("baker, gardener, painter, singer, teacher, farmer, sailor, clown, doctor, cook, builder, driver, tailor, fisherman, pilot, mailman, firefighter")
ROBOTS = words("Beep, Bolt, Zip, Tin-Tin, Robo, Gizmo, Click, Dot, Rusty, Spark")
# something in nature | what it gives
NATURE = """
moon|Your light helps everyone find the way at night
sun|You keep us all warm
cloud|You bring the rain for the flowers
star|Children look at you and make a wish
old tree|Birds live in your branches, and everyone likes your shade
river|You give water to all the animals
mountain|Everyone looks up to you
wind|You make the kites fly and the leaves dance
rain|You make the flowers grow
sea|Fish and whales live in you, and children love your waves
snow|Children make snowmen with you
lighthouse|You show the ships the way home
little house|You keep us warm and dry
bridge|You bring people together
old train|You bring children to their grandmas
rainbow|Everyone smiles when you come
night|You bring the stars and sweet dreams
flower|The bees love you, and you smell so good
volcano|You keep the ground warm, and the clouds rest on you
planet|You go around the sun and never get tired
"""
HIDING = words("an old barrel, a hollow tree, a big basket, a bush, the garden shed, a small hut")
MADE = words("boat, kite, wagon, rocking horse, swing, sled, toy train, treehouse, bike, little chair, puppet, rocket, wooden car")
# further things a request may name
MORE_THINGS = words("""apple, banana, pear, egg, carrot, sandwich, pizza, pancake, lemon, coconut, rose, tulip, mushroom, bone, rock, brick, cake, pie,
cookie, sailboat, tricycle, fire truck, airplane, television, microphone, football, baseball, tennis ball, racket, kettle, fork, bowl, mug, sofa,
bed, bathtub, statue, painting, photo, crystal ball, sword, shield, arrow, cannon, rainbow, song, poem, toy shop, house, cart, carriage, bathrobe,
pajama, tie, dress, skirt, shirt, jacket, sandal, snowman, ice cream, lollipop, candy, chocolate, donut, cupcake, muffin, cheese, nutcracker, whisk,
ball of wool, bunch of flowers, jar of honey, pot of gold, cup of tea, bag of marbles, box of crayons, snow shovel, watering can, rubber duck, hot air balloon,
shoe, sock, boot, glove, spoon, pencil, leaf, stick, letter, lantern, drum, trumpet, violin, bicycle, motorcycle, boomerang, spinning top, robot, jigsaw puzzle,
dollhouse, music box, sleeping bag, picnic basket, bird cage, nest, lock, chain, hook, fishing rod, net, paddle, surfboard, ski, snowflake, icicle, tooth, beard, wig,
moustache, calendar, newspaper, diary, dictionary, treasure map, passport, ticket, wheelbarrow, hose, rake, axe, nail, screwdriver, wrench, tape, glue, scissor, thread""")
# what else one may be afraid of
AFRAID = words("""the dark, the dark, the dark, thunder, water, high places, spiders, dogs, mice, bees, snakes, ghosts, monsters, the wind, the rain, storms, loud noises, the sea,
the forest, the doctor, the dentist, the bath, cats, wolves, bears, fire, the night, school, strangers, birds, trains, shadows, snow, big waves, the vacuum cleaner,
lightning, heights, the water, flying, the moon, frogs, clowns, owls, lions, the attic, the cellar, elevators, balloons, butterflies, horses, swimming, bugs, worms, crowds, mirrors""")
SIGHTS = words("""the moon, the moon, the sea, a volcano, a rainbow, a mountain, a waterfall, a castle, a lighthouse, an old tree, the sun, a star, a river, an island,
a planet, a bridge, a tower, a cloud, a windmill, a lake, a cave, a pyramid, an iceberg, a shooting star, a big tree, a sunflower, a palace, a comet, the ocean, a glacier, a well,
a hill, a fountain, a train, a ship, an apple tree, a circus, a snow castle, a stone giant, a pond, a temple, a geyser, the wind, the rain, the snow, the night, a storm""")
MORE_SKILLS = """
tell jokes|told jokes|telling jokes|for everyone
build houses|built houses|building houses|all day long
play the violin|played the violin|playing the violin|for everyone
play the guitar|played the guitar|playing the guitar|for everyone
surf|surfed|surfing|on the big waves
sail|sailed|sailing|on the lake
dive|dived|diving|in the deep lake
hop|hopped|hopping|over the grass
roar|roared|roaring|very loudly
ride a horse|rode a horse|riding a horse|over the hills
drive a car|drove a car|driving a car|down the road
drive a train|drove a train|driving a train|through the hills
play chess|played chess|playing chess|in the park
grow flowers|grew flowers|growing flowers|in the garden
sew|sewed|sewing|by the window
make ice cream|made ice cream|making ice cream|in the kitchen
cook soup|cooked soup|cooking soup|in a big pot
bake bread|baked bread|baking bread|in the kitchen
bake a cake|baked a cake|baking a cake|in the kitchen
bake cookies|baked cookies|baking cookies|in the kitchen
climb a mountain|climbed a mountain|climbing a mountain|all the way up
do magic|did magic|doing magic|for everyone
run fast|ran fast|running fast|around the lake
jump high|jumped high|jumping high|over the fence
walk on a rope|walked on a rope|walking on a rope|in the circus
speak like a bird|spoke like a bird|speaking like a bird|in the tree
write poems|wrote poems|writing poems|by the lake
write a book|wrote a book|writing a book|at the table
play basketball|played basketball|playing basketball|in the yard
fix cars|fixed cars|fixing cars|in the garage
laugh|laughed|laughing|out loud
smile|smiled|smiling|at everyone
count|counted|counting|all the stars
spell|spelled|spelling|long words
help|helped|helping|everyone
drum|drummed|drumming|on an old pot
ski|skied|skiing|down the hill
swing|swung|swinging|very high
make music|made music|making music|for everyone
paint a house|painted a house|painting a house|all in red
"""
MORE_PLACES = """
circus|at|There were clowns and a big striped tent
hospital|at|The beds were white and the nurses were kind
toy shop|in|There were dolls, trains, and balls up to the ceiling
kitchen|in|It smelled of soup and warm bread
attic|in|There was dust on the old boxes
theater|in|There was a big red curtain
harbor|at|Big ships came and went
palace|in|The floors shone like mirrors
airport|at|Planes came and went all day
hotel|in|There were many doors and soft carpets
supermarket|at|There were rows and rows of good things
cellar|in|It was cool and dark there
jungle camp|at|Little tents stood between the trees
north pole|at|There was white snow as far as one could see
rain forest|in|It was green and warm and wet
fair|at|There were lights, music, and a big wheel
cottage|in|There was a fire and a soft chair
garage|in|It smelled of oil and old tires
restaurant|at|There were round tables and white plates
aquarium|at|Colorful fish swam behind the glass
"""
# words that are neither things nor places
IDEAS = words("""love, happiness, luck, time, music, courage, magic, friendship, peace, hope, winter, spring, summer, autumn, Christmas, rain, snow, school,
money, sleep, kindness, family, work, food, fun, science, history, space, math, football, art, nature, beauty, sharing, baking, fishing, dancing, painting, singing,
reading, helping, growing up, bedtime, freedom, trust, patience, honesty, soup, sunshine, fire, silence, thunder, gold, honey, chocolate""")
# what people ask for most
COMMON_THINGS = words("""balloon, boat, ball, kite, cake, birthday cake, bone, book, bike, bicycle, car, train, truck, hat, key, clock, shoe, sock, drum, guitar, piano, doll, teddy bear, box, bell,
lamp, umbrella, apple, banana, pumpkin, carrot, sandwich, pizza, cookie, egg, flower, rose, seed, stone, shell, star, snowball, pencil, crayon, computer, phone, robot, rocket, spaceship, plane, blanket,
pillow, coat, scarf, mitten, crown, ring, necklace, mirror, map, treasure, candle, bucket, ladder, rope, wagon, swing, sled, house, door, window, table, chair, cup, spoon, sword, tree, leaf, feather,
camera, flute, violin, trumpet, puzzle, toy, toy car, toy train, toy boat, magic wand, magic hat, letter, gift, lollipop, ice cream, honey, cheese, bread, button, coin, basket, backpack, lantern, bus""")
