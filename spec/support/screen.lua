--- What a terminal shows of what was written to it: as much of a VT100 as libedit and our client use.
---
---     local lines, row, column = screen.of(text, 80, 24)     -- from the first row used; counted from 1
local screen = {}

--- Cells are characters; a row that scrolls out of the top is kept: lines are all that there ever were.
function screen.of(text, width, height)
  local rows, top, y, x = {}, 0, 1, 1 -- y counts from `top`
  local function row(n)
    local at = top + n
    while #rows < at do rows[#rows + 1] = {} end
    return rows[at]
  end
  local function set(r, column, char)
    for i = #r + 1, column - 1 do r[i] = " " end
    r[column] = char
  end
  local function down()
    if y < height then y = y + 1 else top = top + 1 end
    row(y)
  end
  local at = 1
  row(1)
  while at <= #text do
    local params, final, after = text:match("^\27%[([%d;?]*)([@-~])()", at)
    local char = text:match("^" .. utf8.charpattern, at)
    if params then
      local n = tonumber(params:match("^%d+")) or 1
      local r = row(y)
      if final == "A" then y = math.max(1, y - n)
      elseif final == "B" then y = math.min(height, y + n)
      elseif final == "C" then x = math.min(width, x + n)
      elseif final == "D" then x = math.max(1, math.min(x, width) - n)
      elseif final == "G" then x = n
      elseif final == "H" then
        y, x = n, tonumber(params:match(";(%d+)")) or 1
      elseif final == "K" then
        for i = #r, x, -1 do r[i] = nil end
      elseif final == "J" then
        if params == "2" or params == "3" then
          for i = 1, height do rows[top + i] = {} end
        else
          for i = #r, x, -1 do r[i] = nil end
          for i = top + y + 1, #rows do rows[i] = {} end
        end
      elseif final == "P" then
        for _ = 1, n do if r[x] then table.remove(r, x) end end
      elseif final == "@" then
        for _ = 1, n do
          set(r, x, r[x] or " ")
          table.insert(r, x, " ")
        end
        for i = #r, width + 1, -1 do r[i] = nil end
      end
      at = after
    elseif text:find("^\27[=>78cM]", at) then at = at + 2
    elseif text:find("^\27[()].", at) then at = at + 3
    elseif char == "\r" then x, at = 1, at + 1
    elseif char == "\n" then
      down()
      at = at + 1
    elseif char == "\b" then x, at = math.max(1, math.min(x, width) - 1), at + 1
    elseif char == "\t" then x, at = math.min(width, (x - 1) // 8 * 8 + 9), at + 1
    elseif char:byte() < 32 then at = at + 1
    else
      if x > width then -- the cursor hangs behind the last column until one more comes
        x = 1
        down()
      end
      set(row(y), x, char)
      x, at = x + 1, at + #char
    end
  end
  local lines = {}
  for i, r in ipairs(rows) do lines[i] = (table.concat(r):gsub(" +$", "")) end
  return lines, top + y, x
end

return screen
