// Package exact tells whether values come back from a transcoder as they were:
// what can be said of a type is said once, and what depends on the value is looked
// at when it is encoded. What a transcoder does differently stands in its [Rules].
package exact
