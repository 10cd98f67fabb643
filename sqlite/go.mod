module github.com/annals-es/annals/sqlite

go 1.26

require github.com/annals-es/annals v0.0.0

replace github.com/annals-es/annals => ../
