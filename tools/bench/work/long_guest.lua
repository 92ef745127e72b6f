--- A Guest with a long behaviour: what does a module of 300 lines cost each actor?
local throng = require "throng"

local Guest = {}

function Guest:init()
  self.hunger, self.sleep = 0, 0
  throng.parent():send("here")
end

function Guest:on_tick()
  self.hunger = self.hunger + 1
  self.sleep = self.sleep + 1
end

function Guest:on_ready()
  return self.hunger
end

function Guest:on_walk(how, much)
  if much and much > 10 then throng.log.warn("too much", {of = "walk", how = how}) end
  self.hunger = self.hunger + (much or 1)
end

function Guest:on_run(how, much)
  local before = self.run or 1
  self.run = before + math.floor((much or 1) * 3 / 3)
  return before, how == "run"
end

function Guest:on_swim(how, much)
  self.sleep = math.max(0, self.sleep - (much or 3))
  return ("%s %s, %d"):format(how or "gladly", "swim", self.sleep)
end

function Guest:on_climb(how, much)
  if much and much > 13 then throng.log.warn("too much", {of = "climb", how = how}) end
  self.hunger = self.hunger + (much or 4)
end

function Guest:on_rest(how, much)
  local before = self.rest or 4
  self.rest = before + math.floor((much or 1) * 6 / 3)
  return before, how == "rest"
end

function Guest:on_sing(how, much)
  self.sleep = math.max(0, self.sleep - (much or 2))
  return ("%s %s, %d"):format(how or "gladly", "sing", self.sleep)
end

function Guest:on_dance(how, much)
  if much and much > 16 then throng.log.warn("too much", {of = "dance", how = how}) end
  self.hunger = self.hunger + (much or 7)
end

function Guest:on_eat(how, much)
  local before = self.eat or 7
  self.eat = before + math.floor((much or 1) * 4 / 3)
  return before, how == "eat"
end

function Guest:on_drink(how, much)
  self.sleep = math.max(0, self.sleep - (much or 1))
  return ("%s %s, %d"):format(how or "gladly", "drink", self.sleep)
end

function Guest:on_cook(how, much)
  if much and much > 19 then throng.log.warn("too much", {of = "cook", how = how}) end
  self.hunger = self.hunger + (much or 3)
end

function Guest:on_wash(how, much)
  local before = self.wash or 10
  self.wash = before + math.floor((much or 1) * 2 / 3)
  return before, how == "wash"
end

function Guest:on_read(how, much)
  self.sleep = math.max(0, self.sleep - (much or 4))
  return ("%s %s, %d"):format(how or "gladly", "read", self.sleep)
end

function Guest:on_write(how, much)
  if much and much > 22 then throng.log.warn("too much", {of = "write", how = how}) end
  self.hunger = self.hunger + (much or 6)
end

function Guest:on_draw(how, much)
  local before = self.draw or 13
  self.draw = before + math.floor((much or 1) * 5 / 3)
  return before, how == "draw"
end

function Guest:on_paint(how, much)
  self.sleep = math.max(0, self.sleep - (much or 3))
  return ("%s %s, %d"):format(how or "gladly", "paint", self.sleep)
end

function Guest:on_build(how, much)
  if much and much > 25 then throng.log.warn("too much", {of = "build", how = how}) end
  self.hunger = self.hunger + (much or 2)
end

function Guest:on_plant(how, much)
  local before = self.plant or 16
  self.plant = before + math.floor((much or 1) * 3 / 3)
  return before, how == "plant"
end

function Guest:on_water(how, much)
  self.sleep = math.max(0, self.sleep - (much or 2))
  return ("%s %s, %d"):format(how or "gladly", "water", self.sleep)
end

function Guest:on_dig(how, much)
  if much and much > 28 then throng.log.warn("too much", {of = "dig", how = how}) end
  self.hunger = self.hunger + (much or 5)
end

function Guest:on_fish(how, much)
  local before = self.fish or 19
  self.fish = before + math.floor((much or 1) * 6 / 3)
  return before, how == "fish"
end

function Guest:on_hunt(how, much)
  self.sleep = math.max(0, self.sleep - (much or 1))
  return ("%s %s, %d"):format(how or "gladly", "hunt", self.sleep)
end

function Guest:on_trade(how, much)
  if much and much > 31 then throng.log.warn("too much", {of = "trade", how = how}) end
  self.hunger = self.hunger + (much or 1)
end

function Guest:on_lend(how, much)
  local before = self.lend or 22
  self.lend = before + math.floor((much or 1) * 4 / 3)
  return before, how == "lend"
end

function Guest:on_borrow(how, much)
  self.sleep = math.max(0, self.sleep - (much or 4))
  return ("%s %s, %d"):format(how or "gladly", "borrow", self.sleep)
end

function Guest:on_give(how, much)
  if much and much > 34 then throng.log.warn("too much", {of = "give", how = how}) end
  self.hunger = self.hunger + (much or 4)
end

function Guest:on_take(how, much)
  local before = self.take or 25
  self.take = before + math.floor((much or 1) * 2 / 3)
  return before, how == "take"
end

function Guest:on_greet(how, much)
  self.sleep = math.max(0, self.sleep - (much or 3))
  return ("%s %s, %d"):format(how or "gladly", "greet", self.sleep)
end

function Guest:on_wave(how, much)
  if much and much > 37 then throng.log.warn("too much", {of = "wave", how = how}) end
  self.hunger = self.hunger + (much or 7)
end

function Guest:on_nod(how, much)
  local before = self.nod or 28
  self.nod = before + math.floor((much or 1) * 5 / 3)
  return before, how == "nod"
end

function Guest:on_laugh(how, much)
  self.sleep = math.max(0, self.sleep - (much or 2))
  return ("%s %s, %d"):format(how or "gladly", "laugh", self.sleep)
end

function Guest:on_cry(how, much)
  if much and much > 40 then throng.log.warn("too much", {of = "cry", how = how}) end
  self.hunger = self.hunger + (much or 3)
end

function Guest:on_shout(how, much)
  local before = self.shout or 31
  self.shout = before + math.floor((much or 1) * 3 / 3)
  return before, how == "shout"
end

function Guest:on_whisper(how, much)
  self.sleep = math.max(0, self.sleep - (much or 1))
  return ("%s %s, %d"):format(how or "gladly", "whisper", self.sleep)
end

function Guest:on_listen(how, much)
  if much and much > 43 then throng.log.warn("too much", {of = "listen", how = how}) end
  self.hunger = self.hunger + (much or 6)
end

function Guest:on_look(how, much)
  local before = self.look or 34
  self.look = before + math.floor((much or 1) * 6 / 3)
  return before, how == "look"
end

function Guest:on_search(how, much)
  self.sleep = math.max(0, self.sleep - (much or 4))
  return ("%s %s, %d"):format(how or "gladly", "search", self.sleep)
end

function Guest:on_find(how, much)
  if much and much > 46 then throng.log.warn("too much", {of = "find", how = how}) end
  self.hunger = self.hunger + (much or 2)
end

function Guest:on_hide(how, much)
  local before = self.hide or 37
  self.hide = before + math.floor((much or 1) * 4 / 3)
  return before, how == "hide"
end

function Guest:on_wait(how, much)
  self.sleep = math.max(0, self.sleep - (much or 3))
  return ("%s %s, %d"):format(how or "gladly", "wait", self.sleep)
end

function Guest:on_wake(how, much)
  if much and much > 49 then throng.log.warn("too much", {of = "wake", how = how}) end
  self.hunger = self.hunger + (much or 5)
end

function Guest:on_dream(how, much)
  local before = self.dream or 40
  self.dream = before + math.floor((much or 1) * 2 / 3)
  return before, how == "dream"
end

function Guest:on_pray(how, much)
  self.sleep = math.max(0, self.sleep - (much or 2))
  return ("%s %s, %d"):format(how or "gladly", "pray", self.sleep)
end

function Guest:on_play(how, much)
  if much and much > 52 then throng.log.warn("too much", {of = "play", how = how}) end
  self.hunger = self.hunger + (much or 1)
end

function Guest:on_throw(how, much)
  local before = self.throw or 43
  self.throw = before + math.floor((much or 1) * 5 / 3)
  return before, how == "throw"
end

function Guest:on_catch(how, much)
  self.sleep = math.max(0, self.sleep - (much or 1))
  return ("%s %s, %d"):format(how or "gladly", "catch", self.sleep)
end

function Guest:on_push(how, much)
  if much and much > 55 then throng.log.warn("too much", {of = "push", how = how}) end
  self.hunger = self.hunger + (much or 4)
end

function Guest:on_pull(how, much)
  local before = self.pull or 46
  self.pull = before + math.floor((much or 1) * 3 / 3)
  return before, how == "pull"
end

function Guest:on_lift(how, much)
  self.sleep = math.max(0, self.sleep - (much or 4))
  return ("%s %s, %d"):format(how or "gladly", "lift", self.sleep)
end

function Guest:on_drop(how, much)
  if much and much > 58 then throng.log.warn("too much", {of = "drop", how = how}) end
  self.hunger = self.hunger + (much or 7)
end

function Guest:on_open(how, much)
  local before = self.open or 49
  self.open = before + math.floor((much or 1) * 6 / 3)
  return before, how == "open"
end

function Guest:on_close(how, much)
  self.sleep = math.max(0, self.sleep - (much or 3))
  return ("%s %s, %d"):format(how or "gladly", "close", self.sleep)
end

function Guest:on_lock(how, much)
  if much and much > 61 then throng.log.warn("too much", {of = "lock", how = how}) end
  self.hunger = self.hunger + (much or 3)
end

return Guest
