--- What build/specs runs: busted, with the house's folders and Debian's pure Lua modules on the path.
--- Debian keeps those of all versions (busted, luassert, penlight ...) in the folder of 5.1.
package.path = "./?.lua;./?/init.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
  .. ";/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua"

table.insert(arg, 1, "--ignore-lua") -- .busted names an interpreter for those who type `busted`; we are one
table.insert(arg, 1, "--seed=" .. require("spec.support.seed"))
io.stdout:setvbuf("no")              -- what a spec prints and what its children print keep their order
require("busted.runner")({standalone = false})
