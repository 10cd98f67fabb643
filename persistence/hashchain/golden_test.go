package hashchain_test

const (
	goldenOne = "b4d1da6ce380623dd4614c54827871a8dbd9e22a1ea7d8ab9aa77b0a18e10ba9"
	goldenTwo = "8bb3997768ff100706098462ad62c3ac5b56464d8194c94d397af2fb0b185137"
)
