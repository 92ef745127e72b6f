%%% bench.erl - the bench suite's workloads in Erlang, as its own people would write them, to measure Throng beside.
%%%
%%%   erl +S 2:2 -noinput -pa build/bench/peers -run bench main tick guys=1000 rounds=1000
%%%
%%% Prints one line of JSON. Exit codes: 0 good, 1 a wrong result, 2 wrong usage. Time is that of the monotonic clock,
%%% from after the setup until the result is known; each workload checks its result. Percentiles are those of every
%%% 64th trip, as in the workloads they are compared with: reading the clock twice a trip would slow them all down.
%%%
%%% How many schedulers there are is the emulator's to know (+S). What else of its flags helps is in the runner.
-module(bench).
-behaviour(gen_server).
-compile([inline, {inline_size, 64}]).
-export([main/0, main/1]).
-export([init/1, handle_call/3, handle_cast/2]).
-export([pong/1, take/3, far_region/2]). % what runs on another node

-define(SAMPLE, 64).     % of so many trips the clock sees one
-define(SETTLE_MS, 200). % until what was born is taken to be at rest

%% The workload, what can be set with its defaults, and its variants, the default one first.
workload("tick") -> {fun tick/1, #{"guys" => 1000, "rounds" => 1000, "regions" => 1}, ["send"]};
workload("pingpong") -> {fun pingpong/1, #{"trips" => 500000}, ["send"]};
workload("ask") -> {fun ask/1, #{"trips" => 500000}, ["gen_server"]};
workload("ring") -> {fun ring/1, #{"actors" => 503, "hops" => 1000000}, ["send"]};
workload("fanin") -> {fun fanin/1, #{"senders" => 8, "each" => 250000}, ["on_heap", "off_heap"]};
workload("payload") -> {fun payload/1, #{"trips" => 200000}, ["fresh"]};
workload("spawn") -> {fun spawn_and_stop/1, #{"guys" => 100000}, ["spawn"]};
workload("tree") -> {fun tree/1, #{"leaves" => 1000000}, ["spawn"]};
workload("remote") -> {fun remote/1, #{"messages" => 50000, "bytes" => 0, "rounds" => 200, "guys" => 1000},
                       ["trips", "call", "oneway", "tick"]};
workload("fair") -> {fun fair/1, #{"trips" => 20000}, ["pair"]};
workload(Name) -> usage("no workload is named '~s'", [Name]).

main() -> main([]).

main(Words) ->
    {_, Ref} = spawn_monitor(fun() -> exit(attempt(Words)) end),
    receive
        {'DOWN', Ref, process, _, {report, Line}} -> io:put_chars([Line, $\n]), halt(0);
        {'DOWN', Ref, process, _, {usage, Text}} -> complain(Text), halt(2);
        {'DOWN', Ref, process, _, {wrong, Text}} -> complain(Text), halt(1);
        {'DOWN', Ref, process, _, Reason} -> complain(io_lib:format("~0p", [Reason])), halt(1)
    end.

attempt(Words) ->
    try {report, run(Words)}
    catch
        throw:Said -> Said;
        Class:Reason:Stack -> {wrong, io_lib:format("~0p: ~0p at ~0p", [Class, Reason, Stack])}
    end.

run([]) -> usage("which workload? NAME key=value...", []);
run([Name | Words]) ->
    {Run, Defaults, Variants} = workload(Name),
    Options = lists:foldl(fun(Word, Sofar) -> option(Word, Name, Sofar, Variants) end,
                          Defaults#{"variant" => hd(Variants)}, Words),
    json([{bench, Name}, {peer, "erlang"}, {version, erlang:system_info(otp_release)},
          {variant, maps:get("variant", Options)}, {schedulers, erlang:system_info(schedulers_online)}]
         ++ Run(Options)
         ++ [{peak_rss_bytes, memory("VmHWM:")}, {verified, true}]).

option(Word, Name, Options, Variants) ->
    case string:split(Word, "=") of
        ["variant", Value] ->
            lists:member(Value, Variants) orelse usage("~s has no variant '~s'", [Name, Value]),
            Options#{"variant" := Value};
        [Key, Value] ->
            is_map_key(Key, Options) orelse usage("~s knows no '~s'", [Name, Key]),
            case string:to_integer(Value) of
                {Number, ""} when Number > 0 -> Options#{Key := Number};
                _ -> usage("~s is a whole number above 0, not '~s'", [Key, Value])
            end;
        _ -> usage("key=value, not '~s'", [Word])
    end.

%%% ---- tick: Regions tick their Guys ----

tick(#{"guys" := Guys, "rounds" := Rounds, "regions" := Count}) ->
    Main = self(),
    Regions = [spawn_link(fun() -> region(Main, Guys, Rounds) end) || _ <- lists:seq(1, Count)],
    [receive {ready, Region} -> ok end || Region <- Regions],
    Began = now_ns(),
    [Region ! start || Region <- Regions],
    Sum = lists:sum([receive {sum, Region, Part} -> Part end || Region <- Regions]),
    Took = now_ns() - Began,
    same("the Guys' hunger", Sum, Count * Guys * Rounds),
    rate(Count * Guys * Rounds, Took, "msg/s").

region(Main, Count, Rounds) ->
    Guys = [spawn_link(fun() -> guy(0, 0) end) || _ <- lists:seq(1, Count)],
    Main ! {ready, self()},
    receive start -> self() ! round end,
    rounds(Guys, Rounds),
    Main ! {sum, self(), ask_all(Guys, 0)}.

rounds(Guys, Left) ->
    receive round -> tick_all(Guys) end,
    if
        Left > 1 -> self() ! round, rounds(Guys, Left - 1);
        true -> ok
    end.

tick_all([Guy | Guys]) -> Guy ! tick, tick_all(Guys);
tick_all([]) -> ok.

%% One after another. What was ticked before it was asked has handled the ticks before it answers.
ask_all([Guy | Guys], Sum) ->
    Ref = make_ref(),
    Guy ! {hunger, self(), Ref},
    receive {Ref, Hunger} -> ask_all(Guys, Sum + Hunger) end;
ask_all([], Sum) -> Sum.

guy(Hunger, Sleep) ->
    receive
        tick -> guy(Hunger + 1, Sleep + 1);
        {hunger, From, Ref} -> From ! {Ref, Hunger}, guy(Hunger, Sleep)
    end.

%%% ---- pingpong: an integer goes there and comes back ----

pingpong(#{"trips" := Trips}) ->
    Ping = self(),
    Pong = spawn_link(fun() -> pong(Ping) end),
    round_trips(Trips, fun(Number, Left) -> ping(Pong, Number, Left) end).

%% Numbers from Number on, as many as are Left.
ping(_, Number, 0) -> Number;
ping(Pong, Number, Left) ->
    Pong ! Number,
    receive Number -> ping(Pong, Number + 1, Left - 1) end.

pong(Ping) ->
    receive Number -> Ping ! Number, pong(Ping) end.

%%% ---- ask: a call to a gen_server ----

ask(#{"trips" := Trips}) ->
    {ok, Server} = gen_server:start_link(?MODULE, none, []),
    round_trips(Trips, fun(Number, Left) -> call(Server, Number, Left) end).

%% Without a timeout, for that would be a timer each call.
call(_, Number, 0) -> Number;
call(Server, Number, Left) -> call(Server, gen_server:call(Server, Number, infinity), Left - 1).

init(State) -> {ok, State}.
handle_call(Number, _From, State) -> {reply, Number + 1, State}.
handle_cast(_, State) -> {noreply, State}.

%%% ---- ring: a number goes round and grows smaller with each hop ----

ring(#{"actors" := Actors, "hops" := Hops}) ->
    Main = self(),
    First = spawn_link(fun() -> receive {next, Next} -> member(Next, 0, Main) end end),
    Last = lists:foldl(fun(Place, Next) -> spawn_link(fun() -> member(Next, Place, Main) end) end,
                       First, lists:seq(Actors - 1, 1, -1)),
    First ! {next, Last},
    Began = now_ns(),
    First ! Hops,
    Place = receive {done, At} -> At end,
    Took = now_ns() - Began,
    same("the place where the ring ended", Place, (Hops - 1) rem Actors),
    rate(Hops, Took, "hops/s").

member(Next, Place, Main) ->
    receive
        1 -> Main ! {done, Place};
        Left -> Next ! Left - 1, member(Next, Place, Main)
    end.

%%% ---- fanin: many send integers to one ----

fanin(#{"senders" := Count, "each" := Each, "variant" := Variant}) ->
    Main = self(),
    Total = Count * Each,
    Receiver = spawn_opt(fun() -> Main ! {sum, sum(Total, 0)} end,
                         [link, {message_queue_data, list_to_existing_atom(Variant)}]),
    Senders = [spawn_link(fun() -> receive start -> send_down_from(Receiver, Each) end end)
               || _ <- lists:seq(1, Count)],
    Began = now_ns(),
    [Sender ! start || Sender <- Senders],
    Sum = receive {sum, Got} -> Got end,
    Took = now_ns() - Began,
    same("the sum", Sum, Count * (Each * (Each + 1) div 2)),
    rate(Total, Took, "msg/s").

send_down_from(_, 0) -> ok;
send_down_from(Receiver, Number) -> Receiver ! Number, send_down_from(Receiver, Number - 1).

sum(0, Sum) -> Sum;
sum(Left, Sum) ->
    receive Number -> sum(Left - 1, Sum + Number) end.

%%% ---- payload: a record with a list of floats and a list of texts goes there, a fresh one comes back ----

%% The parts are made when the program runs: of constants the compiler would make one literal, and it would be sent
%% without being copied. The texts stand in variables, as constants stand in a script; the map and the lists around
%% them are built anew on each side, each way.
payload(#{"trips" := Trips}) ->
    One = list_to_integer("1"),
    Parts = {text("guy-~b", 42), 1.5 * One, 2.5 * One, 3.5 * One, text("~c", $a), text("~c", $b), text("~c", $c)},
    Main = self(),
    Echo = spawn_link(fun() -> echo_fresh(Main, Parts) end),
    round_trips(Trips, fun(Number, Left) -> payloads(Echo, Parts, Number, Left) end).

payloads(_, _, Number, 0) -> Number;
payloads(Echo, Parts, Number, Left) ->
    Echo ! fresh(Number, Parts),
    receive
        #{id := Number, name := <<"guy-42">>, pos := [_, _, 3.5], tags := [_, _, <<"c">>]} ->
            payloads(Echo, Parts, Number + 1, Left - 1)
    end.

fresh(Id, {Name, X, Y, Z, A, B, C}) ->
    #{id => Id, name => Name, pos => [X, Y, Z], tags => [A, B, C]}.

echo_fresh(Main, Parts) ->
    receive #{id := Id} -> Main ! fresh(Id, Parts), echo_fresh(Main, Parts) end.

text(Format, Value) -> iolist_to_binary(io_lib:format(Format, [Value])).

%%% ---- spawn: N Guys are born and say so, then all are stopped ----

spawn_and_stop(#{"guys" := Count}) ->
    Main = self(),
    process_flag(message_queue_data, off_heap), % who holds so many pids and messages is given room for them,
    process_flag(min_heap_size, 2000000),       % or he would be copied over and over
    garbage_collect(),
    Before = memory("VmRSS:"),
    Began = now_ns(),
    Guys = [spawn(fun() -> Main ! here, guy(0, 0) end) || _ <- lists:seq(1, Count)],
    all_here(Count),
    Born = now_ns() - Began,
    timer:sleep(?SETTLE_MS),
    Grown = memory("VmRSS:") - Before,
    [monitor(process, Guy) || Guy <- Guys],
    Stopping = now_ns(),
    [exit(Guy, shutdown) || Guy <- Guys],
    all_down(Count),
    Stopped = now_ns() - Stopping,
    same("Guys alive", length(lists:filter(fun is_process_alive/1, Guys)), 0),
    rate(Count, Born, "actors/s") ++ [{bytes_per_actor, Grown / Count}, {stop_rate, Count * 1.0e9 / Stopped}].

all_here(0) -> ok;
all_here(Left) -> receive here -> all_here(Left - 1) end.

all_down(0) -> ok;
all_down(Left) ->
    receive
        {'DOWN', _, process, _, shutdown} -> all_down(Left - 1);
        {'DOWN', _, process, _, Reason} -> wrong("a Guy ended with ~0p", [Reason])
    end.

%%% ---- tree: ten children each, until all leaves have been counted ----

tree(#{"leaves" := Leaves}) ->
    power_of_ten(Leaves) orelse usage("leaves is a power of ten, not ~b", [Leaves]),
    Most = Leaves * 10 div 9 + 1000, % all alive at once, and those of the emulator
    erlang:system_info(process_limit) >= Most orelse usage("so many leaves need erl +P ~b", [Most]),
    Main = self(),
    Began = now_ns(),
    spawn_link(fun() -> branch(Main, 0, Leaves) end),
    Sum = sum(1, 0),
    Took = now_ns() - Began,
    same("the sum of the leaves' numbers", Sum, Leaves * (Leaves - 1) div 2),
    rate(Leaves, Took, "leaves/s").

branch(Parent, Number, 1) -> Parent ! Number;
branch(Parent, Number, Leaves) ->
    Part = Leaves div 10,
    grow(self(), Number, Part, 10),
    Parent ! sum(10, 0).

grow(_, _, _, 0) -> ok;
grow(Parent, Number, Part, Left) ->
    spawn(fun() -> branch(Parent, Number, Part) end),
    grow(Parent, Number + Part, Part, Left - 1).

power_of_ten(1) -> true;
power_of_ten(Number) -> Number rem 10 =:= 0 andalso power_of_ten(Number div 10).

%%% ---- fair: an endless loop for each scheduler, and two who have nothing to do with them ----

%% CAF has no such workload: an actor of CAF that never returns keeps its thread for good, and all others starve.
fair(#{"trips" := Trips}) ->
    {ok, Server} = gen_server:start_link(?MODULE, none, []),
    Trip = fun(Number, Left) -> call(Server, Number, Left) end,
    {_, Before} = clocked(Trips, 1, Trip),
    Main = self(),
    Count = erlang:system_info(schedulers_online),
    Loops = [spawn_link(fun() -> Main ! here, endless() end) || _ <- lists:seq(1, Count)],
    all_here(Count),
    {Took, During} = clocked(Trips, 1, Trip),
    same("endless loops at the end", length(lists:filter(fun is_process_alive/1, Loops)), Count),
    rate(Trips, Took, "round trips/s") ++ percentiles("", During) ++ percentiles("before_", Before).

endless() -> endless().

%%% ---- remote: the same between two nodes ----

%% The other one is started by this one, with the same flags (ERL_AFLAGS), and ends with it.
remote(Options = #{"variant" := Variant}) ->
    {ok, Peer, Node} = peer:start_link(#{name => peer:random_name(), host => "127.0.0.1",
                                         args => ["-setcookie", atom_to_list(erlang:get_cookie())]}),
    true = erpc:call(Node, code, add_path, [filename:dirname(code:which(?MODULE))]),
    Fields = remote(Variant, Node, Options),
    peer:stop(Peer),
    Fields.

remote("trips", Node, #{"messages" := Trips}) ->
    Ping = self(),
    Pong = spawn(Node, ?MODULE, pong, [Ping]), % it ends with its node
    clocked_trips(Trips, fun(Number, Left) -> ping(Pong, Number, Left) end);
remote("call", Node, #{"messages" := Trips}) ->
    {ok, Server} = erpc:call(Node, gen_server, start, [?MODULE, none, []]),
    clocked_trips(Trips, fun(Number, Left) -> call(Server, Number, Left) end);
remote("oneway", Node, #{"messages" := Count, "bytes" := Bytes}) ->
    Main = self(),
    Payload = case Bytes of 0 -> 1; _ -> binary:copy(<<"x">>, Bytes) end,
    Taker = spawn_link(Node, ?MODULE, take, [Main, Count, 0]),
    Began = now_ns(),
    send_all(Taker, Payload, Count),
    Got = receive {received, Sum} -> Sum end,
    Took = now_ns() - Began,
    same("the bytes that came", Got, Count * Bytes),
    rate(Count, Took, "msg/s");
remote("tick", Node, #{"guys" := Guys, "rounds" := Rounds}) ->
    Main = self(),
    Region = spawn_link(Node, ?MODULE, far_region, [Main, Guys]),
    receive {ready, Region} -> ok end,
    Began = now_ns(),
    beats(Region, Rounds),
    Region ! done,
    Sum = receive {sum, Region, All} -> All end,
    Took = now_ns() - Began,
    same("the Guys' hunger", Sum, Guys * Rounds),
    rate(Guys * Rounds, Took, "msg/s").

%% The server core beats: a Region hears each beat, ticks its Guys, and says so.
beats(_, 0) -> ok;
beats(Region, Left) ->
    Region ! beat,
    receive {beaten, Region} -> beats(Region, Left - 1) end.

far_region(Main, Count) ->
    Guys = [spawn_link(fun() -> guy(0, 0) end) || _ <- lists:seq(1, Count)],
    ask_all(Guys, 0),
    Main ! {ready, self()},
    far_rounds(Main, Guys).

far_rounds(Main, Guys) ->
    receive
        beat -> tick_all(Guys), Main ! {beaten, self()}, far_rounds(Main, Guys);
        done -> Main ! {sum, self(), ask_all(Guys, 0)}
    end.

send_all(_, _, 0) -> ok;
send_all(To, Payload, Left) -> To ! Payload, send_all(To, Payload, Left - 1).

take(Main, 0, Sum) -> Main ! {received, Sum};
take(Main, Left, Sum) ->
    receive
        1 -> take(Main, Left - 1, Sum);
        Payload when is_binary(Payload) -> take(Main, Left - 1, Sum + byte_size(Payload))
    end.

%% Each trip by the clock, as ours does.
clocked_trips(Trips, Trip) ->
    {Took, Times} = clocked(Trips, 1, Trip),
    rate(Trips, Took, "round trips/s") ++ percentiles("", Times).

%%% ---- what they share ----

now_ns() -> erlang:monotonic_time(nanosecond).

rate(Messages, Took, Unit) ->
    [{messages, Messages}, {seconds, Took / 1.0e9}, {rate, Messages * 1.0e9 / Took}, {unit, Unit}].

%% Trip(Number, Count) makes so many trips with numbers from Number on, and returns the number after the last.
round_trips(Trips, Trip) ->
    {Took, Times} = clocked(Trips, ?SAMPLE, Trip),
    rate(Trips, Took, "round trips/s") ++ percentiles("", Times).

%% How long all trips took, and a list of how long the last of every Sample took.
clocked(Trips, Sample, Trip) ->
    Began = now_ns(),
    {Next, Times} = clocked(1, Trips, Sample, Trip, []),
    Took = now_ns() - Began,
    same("the number after the last trip", Next, Trips + 1),
    {Took, Times}.

clocked(Number, Left, Sample, Trip, Times) when Left < Sample -> {Trip(Number, Left), Times};
clocked(Number, Left, Sample, Trip, Times) ->
    Next = Trip(Number, Sample - 1),
    Began = now_ns(),
    Back = Trip(Next, 1),
    clocked(Back, Left - Sample, Sample, Trip, [now_ns() - Began | Times]).

percentiles(_, []) -> [];
percentiles(Prefix, Times) ->
    Sorted = list_to_tuple(lists:sort(Times)),
    [{Prefix ++ Key, element((tuple_size(Sorted) * Thousandths + 999) div 1000, Sorted)}
     || {Key, Thousandths} <- [{"p50_ns", 500}, {"p90_ns", 900}, {"p99_ns", 990}, {"p999_ns", 999}, {"max_ns", 1000}]].

%% A line of the system's account of us, in bytes.
memory(Name) ->
    {ok, Status} = file:read_file("/proc/self/status"),
    [_, Rest] = string:split(Status, Name),
    {KiB, _} = string:to_integer(string:trim(Rest, leading)),
    KiB * 1024.

same(_, Value, Value) -> ok;
same(What, Value, Expected) -> wrong("~s: ~0p, not ~0p", [What, Value, Expected]).

-spec wrong(string(), list()) -> no_return().
wrong(Format, Values) -> throw({wrong, io_lib:format(Format, Values)}).

-spec usage(string(), list()) -> no_return().
usage(Format, Values) -> throw({usage, io_lib:format(Format, Values)}).

complain(Text) -> io:format(standard_error, "bench.erl: ~s~n", [Text]).

json(Fields) ->
    [${, lists:join($,, [[$", name(Key), $", $:, json_value(Value)] || {Key, Value} <- Fields]), $}].

name(Key) when is_atom(Key) -> atom_to_list(Key);
name(Key) -> Key.

json_value(true) -> "true";
json_value(Value) when is_integer(Value) -> integer_to_list(Value);
json_value(Value) when is_float(Value) -> float_to_list(Value, [{decimals, 6}, compact]);
json_value(Value) -> [$", Value, $"].
