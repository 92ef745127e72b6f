/* bench.cpp - the bench suite's workloads in CAF, as its own people would write them, to measure Throng beside.
 *
 *   build/bench/peers/bench-caf tick guys=1000 rounds=1000 schedulers=2
 *
 * Every workload knows schedulers=N [2], policy=stealing or sharing [stealing], and throughput=N, the messages an
 * actor handles in one go [no limit]: CAF's own settings; the runner has the ones that suit each row best.
 *
 * Prints one line of JSON. Exit codes: 0 good, 1 a wrong result, 2 wrong usage. Time is that of the steady clock, from
 * after the setup until the result is known; each workload checks its result. Percentiles are those of every 64th
 * trip, as in the workloads they are compared with. Written for CAF 0.17, which Debian 12 has.
 *
 * There is no workload `fair`: an actor of CAF that never returns keeps its thread for good, and all others starve. */
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "caf/all.hpp"

using caf::actor;
using caf::behavior;
using Clock = std::chrono::steady_clock;

namespace {

using start_atom = caf::atom_constant<caf::atom("start")>;
using ready_atom = caf::atom_constant<caf::atom("ready")>;
using done_atom = caf::atom_constant<caf::atom("done")>;
using tick_atom = caf::atom_constant<caf::atom("tick")>;
using round_atom = caf::atom_constant<caf::atom("round")>;
using hunger_atom = caf::atom_constant<caf::atom("hunger")>;
using here_atom = caf::atom_constant<caf::atom("here")>;
using stop_atom = caf::atom_constant<caf::atom("stop")>;

constexpr int64_t SAMPLE = 64;                // of so many trips the clock sees one
constexpr std::chrono::minutes PATIENCE{4};   // until a result is taken to be missing
constexpr std::chrono::milliseconds SETTLE{200};

struct Usage : std::runtime_error { using std::runtime_error::runtime_error; };
struct Wrong : std::runtime_error { using std::runtime_error::runtime_error; };

// ---- what they share ----

struct Options {
    std::string variant, policy;
    std::map<std::string, int64_t> numbers;
    int64_t operator[](const char *key) const { return numbers.at(key); }
};

struct Report {
    int64_t messages;
    double seconds;
    const char *unit;
    std::vector<std::pair<std::string, double>> more = {};
};

void same(const char *what, int64_t is, int64_t expected) {
    if (is != expected)
        throw Wrong(std::string(what) + ": " + std::to_string(is) + ", not " + std::to_string(expected));
}

double seconds_since(Clock::time_point began) {
    return std::chrono::duration<double>(Clock::now() - began).count();
}

/* A line of the system's account of us, in bytes. */
int64_t memory(const std::string &name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.compare(0, name.size(), name) == 0) return std::stoll(line.substr(name.size())) * 1024;
    throw Wrong("no " + name + " in the status of the process");
}

/* A message nobody will answer: without a sender, whose references would have to be counted. */
template <class... Ts>
void post(caf::local_actor *self, const actor &to, Ts &&...values) {
    to->enqueue(caf::make_mailbox_element(nullptr, caf::make_message_id(), {}, std::forward<Ts>(values)...),
                self->context());
}

/* What main waits for: a number, or the word that something is ready or done. */
int64_t await_number(caf::scoped_actor &main) {
    int64_t result = 0;
    main->receive([&](int64_t number) { result = number; },
                  caf::after(PATIENCE) >> [] { throw Wrong("no result came"); });
    return result;
}

template <class Atom>
void await_word(caf::scoped_actor &main) {
    main->receive([](Atom) {}, caf::after(PATIENCE) >> [] { throw Wrong("no word came"); });
}

/* The times of some of the trips, in nanoseconds. */
class Sampler {
  public:
    void leaves(int64_t number) {
        if (number % SAMPLE == 0) at_ = Clock::now();
    }
    void is_back(int64_t number) {
        if (number % SAMPLE == 0) times_.push_back((Clock::now() - at_) / std::chrono::nanoseconds(1));
    }
    void add_to(Report &report) {
        if (times_.empty()) return;
        std::sort(times_.begin(), times_.end());
        const std::pair<const char *, size_t> stops[] = {
            {"p50_ns", 500}, {"p90_ns", 900}, {"p99_ns", 990}, {"p999_ns", 999}, {"max_ns", 1000}};
        for (auto &stop : stops)
            report.more.emplace_back(stop.first, times_[(times_.size() * stop.second + 999) / 1000 - 1]);
    }

  private:
    Clock::time_point at_;
    std::vector<int64_t> times_;
};

// ---- tick: Regions tick their Guys ----

class Guy : public caf::event_based_actor {
  public:
    using event_based_actor::event_based_actor;
    behavior make_behavior() override {
        return {
            [this](tick_atom) {
                ++hunger_;
                ++sleep_;
            },
            [this](hunger_atom) { return hunger_; },
        };
    }

  private:
    int64_t hunger_ = 0, sleep_ = 0;
};

class Region : public caf::event_based_actor {
  public:
    Region(caf::actor_config &config, actor main, int64_t guys, int64_t rounds, bool shared)
        : event_based_actor(config), main_(std::move(main)), guys_(guys), left_(rounds), shared_(shared) {}

    behavior make_behavior() override {
        for (auto &guy : guys_) guy = spawn<Guy>();
        post(this, main_, ready_atom::value);
        return {
            [this](start_atom) { post(this, this, round_atom::value); },
            [this](round_atom) {
                if (shared_) tick_all_shared();
                else tick_all();
                if (--left_ > 0) post(this, this, round_atom::value);
                else ask(0);
            },
        };
    }

  private:
    void tick_all() {
        for (auto &guy : guys_) post(this, guy, tick_atom::value);
    }

    /* One message for all, made once a round; what remains to be made for each is the mailbox's element. */
    void tick_all_shared() {
        auto message = caf::make_message(tick_atom::value);
        for (auto &guy : guys_) post(this, guy, message);
    }

    /* One after another. What was ticked before it was asked has handled the ticks before it answers. */
    void ask(size_t number) {
        if (number == guys_.size()) {
            post(this, main_, sum_);
            quit();
            return;
        }
        request(guys_[number], caf::infinite, hunger_atom::value).await([this, number](int64_t hunger) {
            sum_ += hunger;
            ask(number + 1);
        });
    }

    actor main_;
    std::vector<actor> guys_;
    int64_t left_, sum_ = 0;
    bool shared_;
};

Report tick(caf::actor_system &system, const Options &options) {
    caf::scoped_actor main{system};
    std::vector<actor> regions(options["regions"]);
    for (auto &region : regions)
        region = main->spawn<Region>(main, options["guys"], options["rounds"], options.variant == "shared");
    for (size_t i = 0; i < regions.size(); ++i) await_word<ready_atom>(main);
    auto began = Clock::now();
    for (auto &region : regions) main->send(region, start_atom::value);
    int64_t sum = 0, messages = options["regions"] * options["guys"] * options["rounds"];
    for (size_t i = 0; i < regions.size(); ++i) sum += await_number(main);
    Report report{messages, seconds_since(began), "msg/s"};
    same("the Guys' hunger", sum, messages);
    return report;
}

// ---- pingpong: an integer goes there and comes back ----

class Pong : public caf::event_based_actor {
  public:
    Pong(caf::actor_config &config, actor ping) : event_based_actor(config), ping_(std::move(ping)) {}
    behavior make_behavior() override {
        return {[this](int64_t number) { post(this, ping_, number); }};
    }

  private:
    actor ping_;
};

class Ping : public caf::event_based_actor {
  public:
    Ping(caf::actor_config &config, actor main, int64_t trips, Sampler *sampler)
        : event_based_actor(config), main_(std::move(main)), trips_(trips), sampler_(sampler) {}
    behavior make_behavior() override {
        pong_ = spawn<Pong>(this);
        return {
            [this](start_atom) { go(1); },
            [this](int64_t number) {
                sampler_->is_back(number);
                if (number != ++count_) count_ = -1;
                if (number < trips_) go(number + 1);
                else post(this, main_, count_);
            },
        };
    }

  private:
    void go(int64_t number) {
        sampler_->leaves(number);
        post(this, pong_, number);
    }

    actor main_, pong_;
    int64_t trips_, count_ = 0;
    Sampler *sampler_;
};

/* `Pinger` makes the trips once he is told to start, and in the end tells their number. */
template <class Pinger>
Report round_trips(caf::actor_system &system, const Options &options) {
    caf::scoped_actor main{system};
    Sampler sampler;
    auto pinger = main->spawn<Pinger>(main, options["trips"], &sampler);
    auto began = Clock::now();
    main->send(pinger, start_atom::value);
    auto count = await_number(main);
    Report report{options["trips"], seconds_since(began), "round trips/s"};
    same("trips made", count, options["trips"]);
    sampler.add_to(report);
    return report;
}

// ---- ask: a request and its response ----

class Server : public caf::event_based_actor {
  public:
    using event_based_actor::event_based_actor;
    behavior make_behavior() override {
        return {[](int64_t number) { return number + 1; }};
    }
};

/* Both ends are event-based: a scoped actor's blocking requests change threads twice a trip. No timeout, for that
 * would be a timer each request. */
class Asker : public caf::event_based_actor {
  public:
    Asker(caf::actor_config &config, actor main, int64_t trips, Sampler *sampler)
        : event_based_actor(config), main_(std::move(main)), trips_(trips), sampler_(sampler) {}
    behavior make_behavior() override {
        server_ = spawn<Server>();
        return {[this](start_atom) { ask(0); }};
    }

  private:
    void ask(int64_t number) {
        sampler_->leaves(number + 1);
        request(server_, caf::infinite, number).then([this](int64_t next) {
            sampler_->is_back(next);
            if (next < trips_) ask(next);
            else post(this, main_, next);
        });
    }

    actor main_, server_;
    int64_t trips_;
    Sampler *sampler_;
};

// ---- ring: a number goes round and grows smaller with each hop ----

class Member : public caf::event_based_actor {
  public:
    Member(caf::actor_config &config, actor main, int64_t place)
        : event_based_actor(config), main_(std::move(main)), place_(place) {}
    behavior make_behavior() override {
        return {
            [this](int64_t left) {
                if (left > 1) post(this, next_, left - 1);
                else post(this, main_, place_);
            },
            [this](const actor &next) {
                next_ = next;
                return ready_atom::value;
            },
        };
    }

  private:
    actor main_, next_;
    int64_t place_;
};

Report ring(caf::actor_system &system, const Options &options) {
    caf::scoped_actor main{system};
    std::vector<actor> members(options["actors"]);
    for (size_t i = 0; i < members.size(); ++i) members[i] = main->spawn<Member>(main, int64_t(i));
    for (size_t i = 0; i < members.size(); ++i) main->send(members[i], members[(i + 1) % members.size()]);
    for (size_t i = 0; i < members.size(); ++i) await_word<ready_atom>(main);
    auto began = Clock::now();
    main->send(members[0], options["hops"]);
    auto place = await_number(main);
    Report report{options["hops"], seconds_since(began), "hops/s"};
    same("the place where the ring ended", place, (options["hops"] - 1) % options["actors"]);
    return report;
}

// ---- fanin: many send integers to one ----

class Receiver : public caf::event_based_actor {
  public:
    Receiver(caf::actor_config &config, actor main, int64_t total)
        : event_based_actor(config), main_(std::move(main)), left_(total) {}
    behavior make_behavior() override {
        return {[this](int64_t number) {
            sum_ += number;
            if (--left_ == 0) post(this, main_, sum_);
        }};
    }

  private:
    actor main_;
    int64_t left_, sum_ = 0;
};

class Sender : public caf::event_based_actor {
  public:
    Sender(caf::actor_config &config, actor receiver, int64_t count)
        : event_based_actor(config), receiver_(std::move(receiver)), count_(count) {}
    behavior make_behavior() override {
        return {[this](start_atom) {
            for (int64_t number = 1; number <= count_; ++number) post(this, receiver_, number);
            quit();
        }};
    }

  private:
    actor receiver_;
    int64_t count_;
};

Report fanin(caf::actor_system &system, const Options &options) {
    caf::scoped_actor main{system};
    auto each = options["each"], total = options["senders"] * each;
    auto receiver = main->spawn<Receiver>(main, total);
    std::vector<actor> senders(options["senders"]);
    for (auto &sender : senders) sender = main->spawn<Sender>(receiver, each);
    auto began = Clock::now();
    for (auto &sender : senders) main->send(sender, start_atom::value);
    auto sum = await_number(main);
    Report report{total, seconds_since(began), "msg/s"};
    same("the sum", sum, options["senders"] * (each * (each + 1) / 2));
    return report;
}

// ---- payload: a record with a list of floats and a list of texts goes there, a fresh one comes back ----

struct Payload {
    int64_t id;
    std::string name;
    std::vector<double> pos;
    std::vector<std::string> tags;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector &f, Payload &x) {
    return f(caf::meta::type_name("Payload"), x.id, x.name, x.pos, x.tags);
}

/* Each side makes one anew each way. Whoever gets it reads it where it lies; nothing is copied or serialized. */
Payload fresh(int64_t id) {
    return {id, "guy-42", {1.5, 2.5, 3.5}, {"a", "b", "c"}};
}

bool is_good(const Payload &x, int64_t id) {
    return x.id == id && x.name == "guy-42" && x.pos[2] == 3.5 && x.tags[2] == "c";
}

class Echo : public caf::event_based_actor {
  public:
    Echo(caf::actor_config &config, actor shipper) : event_based_actor(config), shipper_(std::move(shipper)) {}
    behavior make_behavior() override {
        return {[this](const Payload &payload) { post(this, shipper_, fresh(payload.id)); }};
    }

  private:
    actor shipper_;
};

class Shipper : public caf::event_based_actor {
  public:
    Shipper(caf::actor_config &config, actor main, int64_t trips, Sampler *sampler)
        : event_based_actor(config), main_(std::move(main)), trips_(trips), sampler_(sampler) {}
    behavior make_behavior() override {
        echo_ = spawn<Echo>(this);
        return {
            [this](start_atom) { go(1); },
            [this](const Payload &payload) {
                sampler_->is_back(payload.id);
                if (is_good(payload, good_ + 1)) ++good_;
                if (payload.id < trips_) go(payload.id + 1);
                else post(this, main_, good_);
            },
        };
    }

  private:
    void go(int64_t id) {
        sampler_->leaves(id);
        post(this, echo_, fresh(id));
    }

    actor main_, echo_;
    int64_t trips_, good_ = 0;
    Sampler *sampler_;
};

// ---- spawn: N Guys are born and say so, then all are stopped ----

class Guest : public caf::event_based_actor {
  public:
    Guest(caf::actor_config &config, actor parent) : event_based_actor(config), parent_(std::move(parent)) {}
    behavior make_behavior() override {
        post(this, parent_, here_atom::value);
        return {
            [this](tick_atom) {
                ++hunger_;
                ++sleep_;
            },
            [this](hunger_atom) { return hunger_; },
        };
    }

  private:
    actor parent_;
    int64_t hunger_ = 0, sleep_ = 0;
};

class Spawner : public caf::event_based_actor {
  public:
    Spawner(caf::actor_config &config, actor main, int64_t count)
        : event_based_actor(config), main_(std::move(main)), guests_(count) {}
    behavior make_behavior() override {
        set_down_handler([this](caf::down_msg &message) {
            if (message.reason != caf::exit_reason::user_shutdown) ++odd_;
            if (++down_ == guests_.size()) post(this, main_, odd_);
        });
        return {
            [this](start_atom) {
                for (auto &guest : guests_) guest = spawn<Guest>(this);
            },
            [this](here_atom) {
                if (++here_ == guests_.size()) post(this, main_, here_atom::value);
            },
            [this](ready_atom) {
                for (auto &guest : guests_) monitor(guest);
                post(this, main_, ready_atom::value);
            },
            [this](stop_atom) {
                for (auto &guest : guests_) send_exit(guest, caf::exit_reason::user_shutdown);
            },
        };
    }

  private:
    actor main_;
    std::vector<actor> guests_;
    size_t here_ = 0, down_ = 0;
    int64_t odd_ = 0;
};

Report spawn_and_stop(caf::actor_system &system, const Options &options) {
    caf::scoped_actor main{system};
    auto spawner = main->spawn<Spawner>(main, options["guys"]);
    auto before = memory("VmRSS:");
    auto began = Clock::now();
    main->send(spawner, start_atom::value);
    await_word<here_atom>(main);
    Report report{options["guys"], seconds_since(began), "actors/s"};
    std::this_thread::sleep_for(SETTLE);
    report.more.emplace_back("bytes_per_actor", double(memory("VmRSS:") - before) / options["guys"]);
    main->send(spawner, ready_atom::value);
    await_word<ready_atom>(main);
    began = Clock::now();
    main->send(spawner, stop_atom::value);
    auto odd = await_number(main);
    report.more.emplace_back("stop_rate", options["guys"] / seconds_since(began));
    same("Guys that ended otherwise", odd, 0);
    return report;
}

// ---- tree: ten children each, until all leaves have been counted ----

class Branch : public caf::event_based_actor {
  public:
    Branch(caf::actor_config &config, actor parent, int64_t number, int64_t leaves)
        : event_based_actor(config), parent_(std::move(parent)), number_(number), leaves_(leaves) {}

    /* Who has no behavior has ended. */
    behavior make_behavior() override {
        if (leaves_ == 1) {
            post(this, parent_, number_);
            return {};
        }
        for (int64_t i = 0, part = leaves_ / 10; i < 10; ++i) spawn<Branch>(this, number_ + i * part, part);
        return {[this](int64_t sum) {
            sum_ += sum;
            if (--left_ > 0) return;
            post(this, parent_, sum_);
            quit();
        }};
    }

  private:
    actor parent_;
    int64_t number_, leaves_, sum_ = 0;
    int left_ = 10;
};

Report tree(caf::actor_system &system, const Options &options) {
    auto leaves = options["leaves"], power = leaves;
    while (power % 10 == 0) power /= 10;
    if (power != 1) throw Usage("leaves is a power of ten, not " + std::to_string(leaves));
    caf::scoped_actor main{system};
    auto began = Clock::now();
    main->spawn<Branch>(main, int64_t(0), leaves);
    auto sum = await_number(main);
    Report report{leaves, seconds_since(began), "leaves/s"};
    same("the sum of the leaves' numbers", sum, leaves * (leaves - 1) / 2);
    return report;
}

// ---- the command line ----

struct Workload {
    std::function<Report(caf::actor_system &, const Options &)> run;
    std::map<std::string, int64_t> numbers;
    std::vector<std::string> variants; // the default one first
};

const std::map<std::string, Workload> WORKLOADS = {
    {"tick", {tick, {{"guys", 1000}, {"rounds", 1000}, {"regions", 1}}, {"send", "shared"}}},
    {"pingpong", {round_trips<Ping>, {{"trips", 500000}}, {"send"}}},
    {"ask", {round_trips<Asker>, {{"trips", 500000}}, {"request"}}},
    {"ring", {ring, {{"actors", 503}, {"hops", 1000000}}, {"send"}}},
    {"fanin", {fanin, {{"senders", 8}, {"each", 250000}}, {"send"}}},
    {"payload", {round_trips<Shipper>, {{"trips", 200000}}, {"fresh"}}},
    {"spawn", {spawn_and_stop, {{"guys", 100000}}, {"spawn"}}},
    {"tree", {tree, {{"leaves", 1000000}}, {"spawn"}}},
};

int64_t parse_number(const std::string &key, const std::string &value) {
    char *end = nullptr;
    long long number = std::strtoll(value.c_str(), &end, 10);
    if (value.empty() || *end != '\0' || number < 1)
        throw Usage(key + " is a whole number above 0, not '" + value + "'");
    return number;
}

Options parse_options(const std::string &name, const Workload &workload, int count, char **words) {
    Options options{workload.variants[0], "stealing", workload.numbers};
    options.numbers["schedulers"] = 2;
    options.numbers["throughput"] = INT64_MAX;
    for (int i = 0; i < count; ++i) {
        std::string word = words[i];
        auto equals = word.find('=');
        if (equals == std::string::npos) throw Usage("key=value, not '" + word + "'");
        auto key = word.substr(0, equals), value = word.substr(equals + 1);
        if (key == "variant") {
            auto &known = workload.variants;
            if (std::find(known.begin(), known.end(), value) == known.end())
                throw Usage(name + " has no variant '" + value + "'");
            options.variant = value;
        } else if (key == "policy") {
            if (value != "stealing" && value != "sharing") throw Usage("policy is stealing or sharing");
            options.policy = value;
        } else {
            auto number = options.numbers.find(key);
            if (number == options.numbers.end()) throw Usage(name + " knows no '" + key + "'");
            number->second = parse_number(key, value);
        }
    }
    return options;
}

void print(const std::string &name, const Options &options, const Report &report) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    std::printf("{\"bench\":\"%s\",\"peer\":\"caf\",\"version\":\"%d.%d.%d\",\"variant\":\"%s\",\"schedulers\":%lld,"
                "\"messages\":%lld,\"seconds\":%.6f,\"rate\":%.3f,\"unit\":\"%s\",", name.c_str(),
                CAF_MAJOR_VERSION, CAF_MINOR_VERSION, CAF_PATCH_VERSION, options.variant.c_str(),
                (long long)options["schedulers"], (long long)report.messages, report.seconds,
                report.messages / report.seconds, report.unit);
    for (auto &field : report.more) std::printf("\"%s\":%.0f,", field.first.c_str(), field.second);
    std::printf("\"peak_rss_bytes\":%lld,\"verified\":true}\n", (long long)usage.ru_maxrss * 1024);
    std::fflush(stdout);
}

int run(int count, char **words) {
    if (count < 2) throw Usage("which workload? NAME key=value...");
    std::string name = words[1];
    auto workload = WORKLOADS.find(name);
    if (workload == WORKLOADS.end()) throw Usage("no workload is named '" + name + "'");
    auto options = parse_options(name, workload->second, count - 2, words + 2);
    caf::actor_system_config config;
    config.add_message_type<Payload>("Payload");
    config.set("scheduler.max-threads", size_t(options["schedulers"]));
    config.set("scheduler.max-throughput", size_t(options["throughput"]));
    config.set("scheduler.policy", options.policy == "sharing" ? caf::atom("sharing") : caf::atom("stealing"));
    caf::actor_system system{config};
    print(name, options, workload->second.run(system, options));
    _exit(0);
}

} // namespace

int main(int count, char **words) {
    int code = 2;
    try {
        return run(count, words);
    } catch (const Usage &e) {
        std::fprintf(stderr, "bench.cpp: %s\n", e.what());
    } catch (const std::exception &e) {
        std::fprintf(stderr, "bench.cpp: %s\n", e.what());
        code = 1;
    }
    _exit(code);
}
