--- Sends to his parent, as fast as it goes.
local throng = require "throng"

local send <const> = throng.send

local Sender = {}

function Sender:on_ready() end

function Sender:on_go(count)
  local to, refused = throng.parent(), 0
  for i = 1, count do
    while not send(to, "take", i) do
      refused = refused + 1
      throng.sleep(1)
    end
  end
  while not to:send("sent", refused) do
    refused = refused + 1
    throng.sleep(1)
  end
end

return Sender
