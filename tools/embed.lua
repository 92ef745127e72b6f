--- Writes a C file that holds the given Lua files: lua5.4 tools/embed.lua OUTPUT [lua/throng/args.lua ...]
--- The contract of what it writes is core/actor/embedded.h.
os.setlocale("C") -- so that < orders names by their bytes, as the strcmp of embedded_find does

--- "lua/throng/args.lua" is the module "throng.args", "lua/throng/init.lua" is "throng", "tools/bench/tick.lua" is
--- "throng.bench.tick" (so are all folders of tools/), and what others wrote, "/usr/share/lua/5.1//busted/core.lua", is
--- "throng.bundled.busted.core": it comes into nobody's way who has a module busted.core himself.
local function module_of(path)
  local name = path:gsub("^.*//", "lua/throng/bundled/"):gsub("^tools/(%w+/)", "lua/throng/%1")
    :match("^lua/(.+)%.lua$")
  if not name then error(path .. ": not a .lua file under lua/ or a folder of tools/", 0) end
  return (name:gsub("/init$", ""):gsub("/", "."))
end

--- One C literal a line of source, so that a debugger and a diff can read it.
local function literal(text)
  local lines = {}
  for line in text:gmatch("[^\n]*\n?") do
    if line ~= "" then
      local escaped = line:gsub('[%c"\\?\x7f-\xff]', function(char)
        if char == "\n" then return "\\n" end
        return ("\\%03o"):format(char:byte()) -- three digits: what follows can't join in; no trigraphs either
      end)
      lines[#lines + 1] = '    "' .. escaped .. '"'
    end
  end
  return #lines > 0 and table.concat(lines, "\n") or '    ""'
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local function embed(target, paths)
  local files, path_of = {}, {}
  for _, path in ipairs(paths) do
    local module = module_of(path)
    if path_of[module] then
      error(("%s and %s are both the module %s"):format(path_of[module], path, module), 0)
    end
    path_of[module] = path
    files[#files + 1] = {module = module, path = path:match("//(.*)") or path, text = read(path)}
  end
  table.sort(files, function(a, b) return a.module < b.module end)

  local out <close> = assert(io.open(target, "wb"))
  out:write("/* Written by tools/embed.lua. */\n#include \"actor/embedded.h\"\n\n")
  out:write("const EmbeddedFile embedded_files[] = {\n")
  for _, file in ipairs(files) do
    out:write(('{"%s", "%s",\n%s,\n    %d},\n'):format(file.module, file.path, literal(file.text), #file.text))
  end
  if #files == 0 then out:write("{0}\n") end -- C has no empty arrays
  out:write(("};\n\nconst size_t embedded_count = %d;\n"):format(#files))
end

local output = assert(arg[1], "usage: lua5.4 tools/embed.lua OUTPUT [FILE...]")
local ok, message = pcall(embed, output, {table.unpack(arg, 2)})
if not ok then
  os.remove(output) -- make must not take half a file for a whole one
  io.stderr:write("embed: ", message, "\n")
  os.exit(1)
end
