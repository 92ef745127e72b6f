--- Keeps the dead letters of its node: which of the talker's numbered messages were told to be lost, by receiver.
local throng = require "throng"

local Ledger = {mailbox = {limit = 250000}}

function Ledger:init()
  self.told = {} -- receiver's pid -> numbers
  throng.dead_letters(true)
end

function Ledger:on_dead_letter(letter)
  if letter.name ~= "count" then return end
  local numbers = self.told[letter.to] or {}
  self.told[letter.to] = numbers
  numbers[#numbers + 1] = letter.values[2]
end

function Ledger:on_tell() return self.told end

return Ledger
