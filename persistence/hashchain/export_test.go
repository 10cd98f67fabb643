package hashchain

// AppendForm is what is hashed of an event.
var AppendForm = appendForm
