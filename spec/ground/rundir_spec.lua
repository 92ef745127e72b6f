local process = require "door.process"
local rundir = require "door.rundir"

local function shell(line) assert(os.execute(line), line) end
local function output(line)
  local pipe <close> = assert(io.popen(line))
  return (pipe:read("a"):gsub("%s+$", ""))
end

describe("the run directory", function()
  local base

  before_each(function()
    base = output "mktemp -d"
    rundir.setenv("THRONG_RUN_DIR", base .. "/run")
  end)
  after_each(function()
    rundir.setenv("THRONG_RUN_DIR")
    rundir.setenv("XDG_RUNTIME_DIR")
    shell("rm -rf " .. base)
  end)

  it("is what THRONG_RUN_DIR says, else throng in XDG_RUNTIME_DIR, else one of this user's in /tmp", function()
    assert.equal(base .. "/run/a.sock", rundir.path "a.sock")
    rundir.setenv("XDG_RUNTIME_DIR", base)
    assert.equal(base .. "/run/a.sock", rundir.path "a.sock")
    rundir.setenv("THRONG_RUN_DIR", "")
    assert.equal(base .. "/throng/a.sock", rundir.path "a.sock")
    rundir.setenv("XDG_RUNTIME_DIR")
    assert.equal("/tmp/throng-" .. output "id -u" .. "/a.sock", rundir.path "a.sock")
  end)

  it("is made for its owner alone, and again is nothing", function()
    assert.equal("ok", rundir.make())
    assert.equal("700", output("stat -c %a " .. base .. "/run"))
    assert.equal("ok", rundir.make())
  end)

  it("is refused with one line when others may enter, when it is a file or a link, and when it can't be made", function()
    local function refused(name, why)
      local code, line = rundir.make()
      assert.equal(name, code)
      assert.truthy(line:find(why, 1, true), line)
      assert.truthy(line:find(base, 1, true), line)
      assert.falsy(line:find "\n")
    end
    process.mkdir(base .. "/run")
    shell("chmod 750 " .. base .. "/run")
    refused("EPERM", "chmod 700")
    shell("rmdir " .. base .. "/run; touch " .. base .. "/run")
    refused("EPERM", "no directory")
    shell("rm " .. base .. "/run; mkdir -m 700 " .. base .. "/real; ln -s real " .. base .. "/run")
    refused("EPERM", "no directory")
    rundir.setenv("THRONG_RUN_DIR", base .. "/no/such")
    refused("ENOENT", "can't be made")
  end)

  it("says when its name is too long", function()
    rundir.setenv("THRONG_RUN_DIR", "/" .. ("x"):rep(5000))
    assert.equal("ENAMETOOLONG", rundir.path "a")
    assert.equal("ENAMETOOLONG", (rundir.make()))
    rundir.setenv("THRONG_RUN_DIR", base)
    assert.equal("ENAMETOOLONG", rundir.path(("x"):rep(5000)))
  end)
end)
