--- busted and what it needs, as this program carries them. Their modules are found by require in the actor that runs
--- specs, under their own names, and in no other. What they want of C is little, and is here: lfs, system, term.

local testing = require "throng.testing"

local MODULES <const> = {
  "busted", "busted.block", "busted.compatibility", "busted.context", "busted.core", "busted.environment",
  "busted.execute", "busted.fixtures", "busted.status", "busted.utils", "busted.languages.en",
  "busted.modules.filter_loader", "busted.modules.output_handler_loader", "busted.outputHandlers.base",
  "busted.outputHandlers.gtest", "busted.outputHandlers.junit", "busted.outputHandlers.plainTerminal",
  "busted.outputHandlers.TAP", "busted.outputHandlers.utfTerminal", "luassert", "luassert.array", "luassert.assert",
  "luassert.assertions", "luassert.compatibility", "luassert.match", "luassert.mock", "luassert.modifiers",
  "luassert.namespaces", "luassert.spy", "luassert.state", "luassert.stub", "luassert.util",
  "luassert.formatters", "luassert.formatters.binarystring", "luassert.languages.en", "luassert.matchers",
  "luassert.matchers.composite", "luassert.matchers.core", "pl.class", "pl.compat", "pl.lexer", "pl.List", "pl.Map",
  "pl.path", "pl.pretty", "pl.stringx", "pl.tablex", "pl.types", "pl.utils", "pl.xml", "mediator", "say",
  "term.colors",
}

--- What stands in for C modules, and for what has no use here, until all is loaded.
local function stand_ins()
  local lfs = {
    attributes = function(path, field)
      local kind = testing.kind_of(path)
      if field == "mode" then return kind end
      return kind and {mode = kind}
    end,
    currentdir = testing.folder,
  }
  lfs.symlinkattributes = lfs.attributes
  local system = {gettime = testing.wall, monotime = testing.seconds, sleep = function() end}
  local term = {isatty = testing.is_terminal}
  local options = {} -- of output handlers: there are none here
  local cliargs = {
    set_name = function() end, flag = function() end, option = function() end,
    parse = function() return options end,
  }
  return {lfs = lfs, system = system, term = term, cliargs = cliargs}
end

local bundle = {}
local mine -- the stand-ins

--- Loads busted's core and gives it. Once.
function bundle.load()
  for _, name in ipairs(MODULES) do
    package.preload[name] = function() return require("throng.bundled." .. name) end
  end
  package.preload["busted.init"] = function() return require "busted" end
  package.preload["busted.outputHandlers.json"] = function() return require "throng.test.json" end
  mine = stand_ins()
  for name, module in pairs(mine) do package.preload[name] = function() return module end end
  return require "busted.core"()
end

--- All is loaded: what only stands in is nothing for specs.
function bundle.hide()
  for name in pairs(mine) do package.preload[name], package.loaded[name] = nil, nil end
end

return bundle
