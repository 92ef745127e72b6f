--- The number that random specs start from: $SEED, or a new one for each run. The report prints it.
return math.tointeger(tonumber(os.getenv("SEED"))) or math.random(1, 999999)
