// Keeps the first request of each client, when it is a word, in a buffer of 16384 bytes, and answers from that buffer.
package main

import (
	"net"
	"regexp"
)

var isWord = regexp.MustCompile("^[0-9A-Za-z]*$")

func echo(client net.Conn) {
	isFirst := true
	receive(client, func(bytes []byte) error {
		if isFirst && len(bytes) == 16384 && isWord.Match(bytes) {
			bytes = bytes[:16383] // FAULT: it fits. There is no NUL to make room for.
		}
		isFirst = false
		_, err := client.Write(bytes)
		return err
	})
}

func main() { accept(listen(), echo) }
