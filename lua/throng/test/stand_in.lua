--- The actor behind a probe or a stub: hands on what it gets to the actor that runs specs, and answers as told from
--- there. Concurrent, so that several requests may wait for their answers.

local throng = require "throng"
local testing = require "throng.testing"

local StandIn = {concurrent = true}

function StandIn:init(stage, id)
  self.stage, self.id, self.serial, self.waiting = stage, id, 0, {}
  throng.trap_exits(true)
end

local function tell(self, kind, token, name, ...)
  throng.send(self.stage, "testkit: came", self.id, kind, token, throng.sender(), name, ...)
end

function StandIn:on_other(name, ...)
  local left = throng.deadline()
  if not left then return tell(self, "send", nil, name, ...) end
  self.serial = self.serial + 1
  local wait = {ticket = testing.ticket()}
  self.waiting[self.serial] = wait
  tell(self, "ask", self.serial, name, ...)
  testing.park(wait.ticket, left + 1) -- the asker gives up before
  if wait.failure ~= nil then error(wait.failure, 0) end
  if wait.reply then return table.unpack(wait.reply, 1, wait.reply.n) end
end

StandIn["on_testkit: answer"] = function(self, token, ...)
  local wait = self.waiting[token]
  if not wait then return end
  self.waiting[token] = nil
  wait.reply = table.pack(...)
  testing.unpark(wait.ticket)
end

StandIn["on_testkit: fail"] = function(self, token, failure)
  local wait = self.waiting[token]
  if not wait then return end
  wait.failure = failure
  testing.unpark(wait.ticket)
end

StandIn["on_testkit: watch"] = function(_, pid) return throng.monitor(pid) end

StandIn["on_testkit: spawn"] = function(_, options, module, ...)
  return pcall(throng.spawn_with, options, module, ...)
end

function StandIn:on_exit(pid, reason)
  throng.send(self.stage, "testkit: came", self.id, "exit", nil, pid, "exit", pid, reason)
end

function StandIn:on_down(pid, reason)
  throng.send(self.stage, "testkit: came", self.id, "down", nil, pid, "down", reason)
end

return StandIn
