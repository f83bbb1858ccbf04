// Ends when Accept fails.
package main

import (
	"log"
	"net"
)

func echo(client net.Conn) {
	defer client.Close()
	receive(client, func(bytes []byte) error {
		_, err := client.Write(bytes)
		return err
	})
}

func main() {
	listener := listen()
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err) // FAULT: EMFILE says that a client has to wait until another leaves.
		}
		go echo(client)
	}
}
