--- An output handler of busted's: one JSON object a line, one line a test, and a last one with the sums.

local cjson = require "cjson"

return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()

  local function write(object)
    io.write(cjson.encode(object), "\n")
    io.flush()
  end

  local function where(trace)
    return trace and trace.short_src and trace.currentline and ("%s:%d"):format(trace.short_src, trace.currentline)
  end

  local function text(message)
    if message == nil then return nil end
    return type(message) == "string" and message or tostring(message)
  end

  local function report(status, t)
    write {status = status, name = t.name, file = where(t.element.trace), message = text(t.message),
           traceback = status ~= "success" and t.trace and t.trace.traceback or nil, seconds = t.element.duration}
  end

  function handler.testEnd(_, _, status)
    if status == "success" then report(status, handler.successes[#handler.successes])
    elseif status == "pending" then report(status, handler.pendings[#handler.pendings])
    elseif status == "failure" then report(status, handler.failures[#handler.failures])
    end -- errors have been told
    return nil, true
  end

  function handler.error()
    report("error", handler.errors[#handler.errors])
    return nil, true
  end

  function handler.suiteEnd()
    write {successes = handler.successesCount, failures = handler.failuresCount, errors = handler.errorsCount,
           pending = handler.pendingsCount, seconds = handler.getDuration()}
    return nil, true
  end

  busted.subscribe({"test", "end"}, handler.testEnd, {predicate = handler.cancelOnPending})
  busted.subscribe({"error"}, handler.error)
  busted.subscribe({"suite", "end"}, handler.suiteEnd)
  return handler
end
