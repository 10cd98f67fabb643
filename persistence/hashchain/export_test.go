package hashchain

import "crypto/sha256"

// AppendForm is what is hashed of an event.
var AppendForm = appendForm

// SHA256 is what hashes it.
var SHA256 = sha256.Sum256
