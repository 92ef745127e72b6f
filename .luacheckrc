std = "lua54"
max_line_length = 120
self = false -- a handler's self, used or not, belongs to its signature
exclude_files = {"lua/meta"}
files["spec"] = {std = "+busted", max_line_length = false} -- scripts under test stand in strings
files["actors/*_spec.lua"] = {std = "+busted"}
