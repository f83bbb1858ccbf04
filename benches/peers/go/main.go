// Go: a goroutine for each client.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func serve(client net.Conn) {
	defer client.Close()
	buffer := make([]byte, 64*1024)
	for {
		n, err := client.Read(buffer)
		if n > 0 {
			if _, failed := client.Write(buffer[:n]); failed != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				fmt.Fprintln(os.Stderr, err)
			}
			return
		}
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go_echo PORT")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		go serve(client)
	}
}
