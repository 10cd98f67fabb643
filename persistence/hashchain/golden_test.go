package hashchain_test

// The values that the hashes of certain events, and the heads after them, have once
// and for all.
const (
	goldenOne  = "b4d1da6ce380623dd4614c54827871a8dbd9e22a1ea7d8ab9aa77b0a18e10ba9"
	goldenTwo  = "8bb3997768ff100706098462ad62c3ac5b56464d8194c94d397af2fb0b185137"
	goldenHead = "2:" + goldenTwo + ":a"
	goldenLog  = "2:2:a388c477b1fe754dd51142d51698302a4f0223b96282ea5d116846b859748131"
)
