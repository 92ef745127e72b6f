---@meta throng
--- What a script can call: `local throng = require "throng"`. A page for editors and people; nothing requires it.
---
--- Times are milliseconds, parts of them too. Functions raise on misuse (wrong arguments, values that can't be sent)
--- and return false or nil with a word on what may happen to the best (a dead pid, a full mailbox, a taken name).
--- In a module's body there is no actor yet: there all functions but info, node, node_info, nodes, now, stats,
--- versions, whereis and the log's raise; call them in init or a handler.
---
--- Values that travel in messages, spawns, replies and reasons: nil, booleans, integers, floats, strings, pids, refs,
--- and tables of them (trees: a table met twice or a cycle is an error, which names the path). Functions, threads and
--- userdata are an error. Metatables stay behind, but for those of error objects.

---@class throng
local throng = {}

--- An actor's address: equal by value, good as a table's key, never another actor's. tostring shows it as <7.1>.
---@class pid
local pid = {}

--- What monitor, after and every return.
---@class ref

---@class throng.Error                what ask and spawn raise, and the reason of a crash; tostring is its message
---@field code string                 "timeout", "down", "deadlock" ... each function says which; or your own
---@field message string
---@field actor? pid                  whom it is about
---@field behaviour? string
---@field version? string         that it ran: see throng.versions
---@field traceback? string           of the handler that raised, in the actor it ran in
---@field reason? any                 code "down": why it went

---@class throng.MailboxOptions
---@field limit? integer              messages that may wait, 1 to 250000; setting mailbox.limit if not given
--- What happens to one too many. "refuse", if nothing is said: its sender hears false, "full". "drop_newest": it is
--- dropped, its sender hears true, "dropped". "drop_oldest": the one that has waited longest is dropped. "latest": of
--- each message name only the newest send waits, at any time; requests stay, and at the limit the oldest goes.
--- Dropped ones are counted and dead letters, those that a newer one replaced are only counted. A request that is
--- dropped ends with the code "full". Downs, exits, replies and timers are never dropped. For "drop_oldest" and
--- "latest" up to three times the limit may wait for a moment; more than the limit is never handled.
---@field full? "refuse"|"drop_newest"|"drop_oldest"|"latest"

---@class throng.Behaviour            what a behaviour's module returns
---@field concurrent? boolean         other messages are handled while a handler waits in ask or sleep
---@field mailbox? throng.MailboxOptions
---@field init? fun(self: table, ...: any)            first; its error ends the actor
---@field terminate? fun(self: table, reason: any)    last, unless it was killed
---@field on_other? fun(self: table, name: string, ...: any): ...  messages there is no on_<name> for
---@field on_down? fun(self: table, pid: pid, reason: any, ref: ref) a monitored actor is gone
---@field on_exit? fun(self: table, pid: pid, reason: any)  a linked actor is gone, and we trap exits
---@field on_dead_letter? fun(self: table, letter: throng.DeadLetter)  see throng.dead_letters
---@field on_crash? fun(self: table, report: throng.CrashReport)  see throng.crash_reports
---@field on_name? fun(self: table, name: string, what: "lost")  see throng.register
---@field on_node? fun(self: table, node: string, state: "up"|"down", lost: integer?)  see throng.watch_nodes
---@field on_interrupt? fun(self: table, signal: "INT"|"TERM"|"HUP") the root actor only; without it the node ends
---@field [string] any                on_<name>(self, ...): the handler of message <name>; what it returns is the reply

--- Sends a message and goes on. What comes from one actor arrives in the order sent, at most once.
---@param name string  it is handled by on_<name>
---@param ... any
---@return boolean taken  true: it is in the mailbox, or that is full and drops the newest: "dropped"
---@return "full"|"dead"|"unreachable"|"too_large"|"dropped"|nil why  then it is a dead letter, too
---@usage
---   local taken, why = guy:send("tick", 1)
function pid:send(name, ...) end

--- Sends a request and waits for what the handler returns; 5 s at most (setting ask.timeout), and while we handle a
--- request ourselves no longer than its asker waits (throng.deadline). Other messages to us wait meanwhile, unless the
--- behaviour is concurrent. Raises a throng.Error with the code "timeout"; "down": it is dead, or died meanwhile
--- (`reason`); "full": its mailbox; "unreachable": its node; "no_handler"; "error": the handler raised (with the
--- traceback); "memory": in the handler; "reply": the reply can't be sent; "deadlock": the asked waits for us, by
--- itself or by others, and so we would wait for ever (the message names them all); or the code of the table that the
--- handler raised.
---@param name string
---@param ... any
---@return any ...
---@usage
---   local ok, hunger = pcall(guy.ask, guy, "eat", 3)
---   if not ok then throng.log.warn("no meal", {why = hunger.code}) end
function pid:ask(name, ...) end

--- As pid:send.
---@param to pid
---@param name string
---@param ... any
---@return boolean taken
---@return "full"|"dead"|"unreachable"|"too_large"|"dropped"|nil why
function throng.send(to, name, ...) end

--- One message to many; it is encoded once.
---@param pids pid[]
---@param name string
---@param ... any
---@return integer taken  how many mailboxes took it
function throng.send_all(pids, name, ...) end

--- As pid:ask.
---@param to pid
---@param name string
---@param ... any
---@return any ...
function throng.ask(to, name, ...) end

--- As pid:ask, with a time of its own. It, too, ends when the asker of what we handle gives up; a fork is free of that.
---@param ms number
---@param to pid
---@param name string
---@param ... any
---@return any ...
function throng.ask_within(ms, to, name, ...) end

--- The time that is left of the request that is being handled, in ms: after it nobody waits for our answer. What we ask
--- meanwhile ends with it, too. Nil where nobody waits: in sends, timers, init and forks; 0: the asker has given up.
---@return number?
function throng.deadline() end

--- Who sent the message that is being handled; nil in init of the root actor, in timers and in forks.
---@return pid?
function throng.sender() end

--- Makes an actor; init gets the arguments. Returns at once, init runs in the new actor.
--- Raises a throng.Error with the code "spawn": no such module, it does not parse, its body raises, it returns no
--- table; "limit": setting actors.limit; "memory".
---@param module string  by its require path, such as "guy" or "shop.till"
---@param ... any
---@return pid
function throng.spawn(module, ...) end

---@class throng.SpawnOptions
---@field name? string                to register it by; 1 to 200 bytes
---@field monitor? boolean            as throng.monitor, without a gap
---@field link? boolean               as throng.link, without a gap
---@field memory? integer             bytes its VM may hold, from 65536 on; setting actor.memory if not given
---@field mailbox? throng.MailboxOptions  what is not given is the behaviour's
---@field allow? ("io"|"os"|"debug"|"package"|"reload")[] what is closed otherwise; only what one was allowed oneself
---@field node? string                the node it lives on; this actor waits until it is made there, see below
---@field requires? table<string, boolean|integer|string>  what its node must be able to (--can), see below
---@field restarts? integer           how many it replaces, one after the other: a crash report says so
---@field wait? number                wait this many ms for init, and raise its error, or the code "timeout"
---@field pid? pid                    with wait, spawn_with puts it here before it waits, for who has to end the newborn

--- As spawn, with options. Raises the code "name_taken" too.
---
--- On another node (`node`, `requires`) all options hold as here; the name is registered there. This actor waits, as
--- in an ask, until the other one has its pid: `wait` ms, else ask.timeout. What the other node lacks of the module and
--- of the files that it requires is sent to it, and what the new actor spawns or requires later comes from here, too.
--- `requires` picks, of the nodes that can do all of it, this one too, the one with the fewest actors (false: what it
--- must not be able to do). With `node` besides it picks if that node is not up, or can't.
--- Raises the codes "unreachable" (no node of that name is up), "no_node" (none can do what is required), "down" (the
--- connection was lost meanwhile: it may have been made), "refused" (the node runs its own files only, and has another
--- version, or none), "too_large" (a file has over 1 MB, init's arguments nearly that), "timeout" (if it is made after
--- that it is killed), and what is raised here, too: "spawn", "limit", "name_taken".
---@param options throng.SpawnOptions
---@param module string
---@param ... any
---@return pid
---@return ref? monitor  with the option monitor
---@usage
---   local guy, ref = throng.spawn_with({name = "bob", monitor = true, wait = 1000}, "guy", "bob")
function throng.spawn_with(options, module, ...) end

--- The pid of this actor.
---@return pid
function throng.self() end

--- Who spawned this actor; nil: it is the root.
---@return pid?
function throng.parent() end

--- Ends this actor with that reason; terminate runs. Never returns, and no pcall stops it.
---@param reason? any  "normal" if not given
function throng.exit(reason) end

--- Ends an actor as soon as can be, even in an endless loop; terminate does not run. Its reason is "killed".
---@param victim pid
---@return boolean sent
---@return "dead"|nil why
function throng.kill(victim) end

--- Tells an actor to end: a handler that computes ends first, one that waits is cut short, then terminate runs.
---@param to pid
---@param reason? any  "normal" if not given
---@return boolean sent
---@return "dead"|nil why
function throng.stop(to, reason) end

--- Runs a function beside the handlers, in this actor: while it waits in ask or sleep, messages are handled.
---@param fn fun(...: any)
---@param ... any
function throng.fork(fn, ...) end

---@class throng.Scope
---@field scope? "node"|"cluster"  whose name it is: this node's, if nothing is said

--- Gives this actor a name on the node; or, with {scope = "cluster"}, one that nobody else in the whole cluster has. It
--- may have several; they go with it.
---
--- Names of the cluster are kept in etcd: the node was started with --etcd, else this raises. The actor waits, as in an
--- ask. What it gets with the name is a fence: a number that is larger for each holder after it. Hand it on to whatever
--- stands outside (a database, a file's header), and let that refuse smaller ones: an actor can't be stopped in the
--- middle of a handler when its name is lost.
---
--- The name is lost when the node's lease in etcd can't be renewed: before it is over, so before another can have the
--- name. Then the actor hears `on_name(self, name, "lost")`; one that has no such handler is stopped, with the reason
--- "name lost". It may register again, and hears "unreachable" until etcd is back.
---
---   local ok, fence = throng.register("lobby", {scope = "cluster"})
---@param name string  1 to 200 bytes
---@param scope? throng.Scope
---@return boolean registered
---@return "taken"|"unreachable"|"timeout"|integer|nil why  or, of the cluster, the fence
function throng.register(name, scope) end

--- Takes a name of this actor back. One of the cluster is free for others some milliseconds later.
---@param name string
---@param scope? throng.Scope
---@return boolean removed  false: it was not ours
function throng.unregister(name, scope) end

--- Names are their node's. With the name of another node that one is asked, and this actor waits as in an ask.
---
--- With {scope = "cluster"} it is a name of the cluster, and the fence comes with it. The node knows most of them, some
--- milliseconds behind; of those it does not know etcd is asked, and the actor waits. While the node has no lease it
--- can't know any: "unreachable".
---@param name string
---@param node? string|throng.Scope  nil: this node
---@return pid?  nil: nobody has that name
---@return "unreachable"|"timeout"|integer|nil why  there is no way to that node, or it did not answer in time
---  (ask.timeout); or the fence
function throng.whereis(name, node) end

--- The fence, if this actor has that name of the cluster at this moment. It costs less than a microsecond: ask before
--- each step that only the holder may do, and hand the fence on with it.
---
---   local fence = throng.fence("lobby") or error("not the lobby any more")
---@param name string
---@return integer? fence  nil: it does not have it
function throng.fence(name) end

--- Makes this actor a member of a group; groups are there while they have members. When it ends it has left before
--- anybody hears of its end. Nodes of a cluster share their groups; members on a node that is lost have left. Joining
--- twice is joining once.
---@param group string  1 to 200 bytes; groups and names of actors have nothing to do with each other
---@return boolean joined  true: it is a member now
---@return "limit"|nil why  it is in 1000 groups already
function throng.join(group) end

---@param group string
---@return boolean left  false: it was no member
function throng.leave(group) end

--- The members of a group, in the order of joining; {} if there are none.
---@param group string
---@return pid[]
function throng.members(group) end

--- The groups there are, with the count of their members.
---@return table<string, integer>
function throng.groups() end

--- One message to all members of a group, us too if we are one; it is encoded once. 0 if there is nobody in it.
---@param group string
---@param name string
---@param ... any
---@return integer taken  how many mailboxes took it
---@usage
---   throng.publish("players", "news", "the gates are open")
function throng.publish(group, name, ...) end

--- A message to oneself, later.
---@param ms number
---@param name string  as in send
---@param ... any
---@return ref timer
function throng.after(ms, name, ...) end

--- A message to oneself, again and again, without drift; who was busy gets one late beat, not all he missed.
---@param ms number  at least 1
---@param name string
---@param ... any
---@return ref timer
function throng.every(ms, name, ...) end

--- After this the timer's message does not come, not even if it was due already.
---@param timer ref
---@return boolean cancelled  false: it had come, or was cancelled before
function throng.cancel(timer) end

--- Waits. Other messages wait as well, unless the behaviour is concurrent.
---@param ms number
function throng.sleep(ms) end

--- A clock that never goes back, in ms, exact to parts of a microsecond: only differences mean something.
---@return number
function throng.now() end

--- Asks for one on_down when that actor is gone, whyever; at once, reason "noproc", if it is already.
---@param whom pid
---@return ref monitor
function throng.monitor(whom) end

--- After this its on_down does not come, not even if it was on its way.
---@param monitor ref
---@return boolean removed
function throng.demonitor(monitor) end

--- Waits until that actor is gone, `ms` at most. Of its last messages some may still wait in our mailbox.
---@param whom pid
---@param ms number
---@return boolean gone
---@return any reason  why it went, "noproc" if it was gone already; "timeout" if it is not gone
---@usage
---   throng.stop(guy)
---   if not throng.await(guy, 1000) then throng.kill(guy) end
function throng.await(whom, ms) end

--- Ties two lives together: when one ends by other than "normal" the other does too, unless it traps exits.
---@param whom pid
function throng.link(whom) end

---@param whom pid
function throng.unlink(whom) end

--- With true the ends of linked actors, "normal" too, are messages, on_exit, and no end of us.
---@param on boolean
---@return boolean former
function throng.trap_exits(on) end

---@class throng.DeadLetter     what on_dead_letter(self, letter) gets
---@field to pid
---@field from? pid             nil: the node itself
---@field name string           of its handler; "answer" for a late reply, "down" and "exit" for notices nobody hears
---@field values table          the arguments, their number in `n`; 4000 bytes and 16 tables deep at most
---@field cut? boolean          true: there was more in the values
---@field reason "dead"|"full"|"no_handler"|"late"|"unreachable"|"too_large"

--- Subscribes to dead letters: each is a message dead_letter(letter), from nobody. A subscriber that dies is dropped;
--- what does not fit its mailbox is counted (stats, dead_notice), and is no dead letter. Letters that subscribers lose
--- themselves are told up to 1000 a second, so that nobody runs in circles.
---@param who boolean|pid  true or false: this actor; or another one's pid
---@param on? boolean      with a pid; true if not given
---@return boolean done    on: it is subscribed now; off: it was
---@return "dead"|"limit"|nil why  64 subscribers are the most
---@usage
---   function Me:init() throng.dead_letters(true) end
---   function Me:on_dead_letter(letter) throng.log.warn("lost", {name = letter.name, why = letter.reason}) end
function throng.dead_letters(who, on) end

---@class throng.CrashReport    what on_crash(self, report) gets
---@field pid pid
---@field name? string          that it was registered by
---@field behaviour string
---@field version string
---@field code string           "error", "memory", or that of the table which was raised, 100 bytes at most
---@field message string        the error's text, 2000 bytes at most
---@field traceback string
---@field during "handler"|"init"|"terminate"|"fork"|"body"
---@field handling? {name: string, from: pid?, values: table, cut: boolean?}  the message; as in throng.DeadLetter
---@field uptime number         milliseconds since its spawn
---@field restarts integer      as spawn_with was told; 0 if not

--- Subscribes to crashes of actors: each is a message crash(report), from nobody; all as with dead_letters. An actor is
--- not told of its own crash. The log has the same as one block.
---@param who boolean|pid
---@param on? boolean
---@return boolean done
---@return "dead"|"limit"|nil why
---@usage
---   function Me:on_crash(report) throng.publish("admins", "alarm", report.behaviour, report.message) end
function throng.crash_reports(who, on) end

--- Subscribes to nodes that come and go: each is a message node(name, state), from nobody; all as with dead_letters.
--- Nodes that are up already are told at once. A node is "down" when the connection to it is lost: it ended, or can't
--- be reached. By then our asks to its actors have failed (code "down"), monitors have had their down and links their
--- exit, all with the reason "noconnection". "down" has one value more, node(name, "down", lost): so many messages of
--- ours, of all actors together, were on their way there and may have arrived or not. None of them arrives later than
--- what is sent after "up".
---@param who boolean|pid
---@param on? boolean
---@return boolean done
---@return "dead"|"limit"|nil why
---@usage
---   function Me:init() throng.watch_nodes(true) end
---   function Me:on_node(node, state) throng.log.info("a node", {node = node, state = state}) end
function throng.watch_nodes(who, on) end

--- The name of this node.
---@return string
function throng.node() end

---@class throng.NodeInfo
---@field name string
---@field own boolean      it is this one
---@field actors integer   alive, as it said last: a second or so ago
---@field can table<string, boolean|integer|string>  what it was started with: --can gpu=true,zone=eu

--- What is known of a node.
---@param name? string     this one, if not given
---@return throng.NodeInfo?  nil: none of that name is up
function throng.node_info(name) end

--- The names of the nodes that we have a connection to, ours first.
---@return string[]
function throng.nodes() end

--- Ends the node: every actor is stopped, and its terminate runs, with the reason "shutdown". Returns at once. The
--- first call counts.
---@param exit_code? integer  0 to 255; 0 if not given
function throng.shutdown(exit_code) end

---@class throng.Info
---@field behaviour string        its module
---@field version string          of that and of the modules it requires: a hash
---@field depth integer           messages that wait in its mailbox
---@field limit integer           ... and how many may
---@field full "refuse"|"drop_newest"|"drop_oldest"|"latest"
---@field age_ms? number          none of them has waited longer than that, give or take a few ms; nil: none waits
---@field dropped integer         messages that its full mailbox let go, or newer ones replaced
---@field refused integer         messages that it did not take, since it was full
---@field waits_for? pid          whom it asked, while it waits for the answer and handles nothing else

--- What an actor of this node is at just now; nil if it is dead.
---@param pid pid
---@return throng.Info?
---@usage
---   local info = throng.info(guy)
---   if info and info.waits_for then print(guy, "waits for", info.waits_for) end
function throng.info(pid) end

---@class throng.Stats            counters since the node began, but for the last ones
---@field messages integer        messages that actors began to handle
---@field sent integer            messages that mailboxes took
---@field asks integer
---@field dropped integer         messages that full mailboxes dropped, or newer ones replaced
---@field deadlocks integer       asks that would have closed a circle
---@field skipped integer         requests that were not begun, since their asker had given up or died
---@field spawned integer
---@field copied integer          those whose VM was copied from one in which their behaviour's body had run
---@field exited integer          actors that ended, however
---@field crashed integer         those that ended by an error
---@field preempted integer       slices that were cut short
---@field stolen integer          actors that a worker took over from another
---@field slices integer          turns of actors on workers
---@field dead_pid integer        dead letters: the actor is dead
---@field dead_full integer       dead letters: its mailbox is full
---@field dead_handler integer    dead letters: it has no such handler
---@field dead_late integer       dead letters: an answer, or a request, whose asker had given up
---@field dead_unreachable integer dead letters: no way to that node
---@field dead_notice integer     notices of dead letters, crashes and nodes that a subscriber did not take: it was full
---@field net_sent integer        messages to other nodes, notices and answers too
---@field net_received integer    messages from other nodes
---@field net_bytes_out integer   written to other nodes
---@field net_bytes_in integer    read from other nodes
---@field net_unconfirmed integer messages, kills and stops on their way when a connection broke: perhaps they arrived
---@field actors integer          alive now
---@field workers integer         threads that run actors
---@field waiting integer         messages in all mailboxes now
---@field oldest_ms number        the greatest throng.info(pid).age_ms of all; 0: nothing waits
---@field rss_bytes integer       memory of the process now
---@field rss_peak_bytes integer  and at its most
---@field cpu_ns integer          time of all threads, in nanoseconds

--- The node's figures. It looks at each living actor: some milliseconds, if there are a million.
---@return throng.Stats
function throng.stats() end

---@class throng.ReloadOptions
---@field in_flight? "drain"|"cancel" handlers that wait are waited for (the default), or their askers get the code
---                                "reloaded" at once
---@field drain? number           how long handlers are waited for, in ms, before they are cancelled after all; setting
---                                reload.drain (5 s) if not given
---@field canary? integer|string  so many of the actors, or "5%" of them, take it first: their crashes and the times of
---                                their handlers are compared with the others'; then all take it, or none
---@field watch? number           for how long, in ms; setting reload.watch (10 s) if not given
---@field force? boolean          what has not changed begins anew, too
---@field mode? "code"|"vm"        "vm": each actor gets a new VM, changed or not, and `self` goes there as a message
---                                does (no functions, no cycles); nothing else of the old VM is left. It waits until
---                                none of its coroutines is in the middle of something; a way back leaves states as
---                                they are

---@field all? boolean            on all nodes that there is a link to, or on none: what is new in this node's files
---                                goes to them, and modules that are named are replaced whatever they were there
---@field within? number          with `all`: how long all nodes have to be ready, in ms; 30 s if not given

---@class throng.ReloadReport     with `all`: besides, or instead, `nodes`, for each its name `on`, its `state`
---                               ("taken", "unchanged", "unknown") and its own report; `text`; and `on`, whose
---                               failure it is. `actor` is a text then
---@field ok boolean              false: the old code runs on, everywhere, and `stage` and `message` say why
---@field behaviours throng.Reloaded[] none: nothing has changed
---@field actors integer          how many took it
---@field gone integer            ... and how many ended meanwhile
---@field cancelled integer       handlers and forks
---@field downgraded integer      states that downgrade has brought back
---@field as_is integer           states that stay as a migrate had made them, though its version is gone
---@field took_ms number
---@field warnings string[]       such as handlers that write into tables of their file
---@field canary? string          what was seen of the canaries, and of the others
---@field canaries? integer       how many there were
---@field stage? "compile"|"static"|"body"|"migrate"|"check"|"swap"|"none" where it failed
---@field message? string         with a traceback if there is one
---@field file? string
---@field line? integer
---@field actor? pid              in which it failed

---@class throng.Reloaded
---@field name string             the module
---@field from string             its version before; and `to`, the one after
---@field to string
---@field actors integer          how many took it

--- Reads the files of the modules named (of all that are loaded if there is no name) and of what they require, and
--- brings what has changed to all living actors, each between two messages: all of them take it, or none. What requires
--- a module that has changed is in the same set. Waits for the end of it. For the root, and for who was spawned with
--- `allow = {"reload"}`; who is to be reloaded itself calls it in throng.fork. Raises the code "busy": another is under
--- way.
---
--- A behaviour may have `migrate(self, from)`: it gets a copy of the state, changes it or returns another table, and
--- `from`, the version before. It may run twice, if the actor has done something since it was first tried, so it only
--- computes. `check(self)` then sees the new state; returning false (and why) or raising, it says no.
---@param modules? string|string[]
---@param options? throng.ReloadOptions
---@return throng.ReloadReport
---@usage
---   local report = throng.reload("guy", {canary = "5%"})
---   if not report.ok then throng.log.error("no reload", {stage = report.stage, why = report.message}) end
function throng.reload(modules, options) end

--- Back to the version before, for all that changed together with it. The state comes back by `downgrade(self, to)` of
--- the version that goes, if it has one; else it stays as it is, and the report's `as_is` counts those that a migrate
--- had changed.
---@param module string
---@param options? throng.ReloadOptions
---@return throng.ReloadReport
function throng.rollback(module, options) end

---@class throng.Version
---@field name string
---@field version string
---@field current boolean         spawns take it
---@field actors integer          living ones of this version
---@field before? string          the version that a rollback leads to
---@field file string

--- The versions that the node has seen, of one module or of all, the newest first.
---@param module? string
---@return throng.Version[]
function throng.versions(module) end

--- The node's log, on standard error. Each line has the time, the level, the actor's name and pid, the message, and the
--- fields as key=value in the order of their keys. Lines below the level of --log (info) cost next to nothing.
---@class throng.log
throng.log = {}

---@param message any  tostring of it
---@param fields? table<string, any>
---@usage
---   throng.log.info("spawned", {guy = pid})
function throng.log.debug(message, fields) end

---@param message any
---@param fields? table<string, any>
function throng.log.info(message, fields) end

---@param message any
---@param fields? table<string, any>
function throng.log.warn(message, fields) end

---@param message any
---@param fields? table<string, any>
function throng.log.error(message, fields) end

return throng
