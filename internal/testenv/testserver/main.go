// Command testserver is the service that tests break: static, so that it runs
// alone in an empty image, and obedient, so that a test decides how it behaves.
// It refuses to be useful for anything else.
//
// Every listener is announced on stdout as "listening KIND ADDRESS", which makes
// port 0 usable; "ready" follows when all of them are.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type settings struct {
	http, tcp, udp string
	name           string
	delay          time.Duration
	sickFor        time.Duration
	crashAfter     time.Duration
	ignoreTerm     bool
	lifeline       bool
	check          string
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("testserver: ")
	s := parse()
	if s.check != "" {
		if err := check(s.check); err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := serve(s); err != nil {
		log.Fatal(err)
	}
}

func parse() settings {
	var s settings
	host, _ := os.Hostname()
	flag.StringVar(&s.http, "http", "", "serve HTTP on this address: / says the name, /healthz the health")
	flag.StringVar(&s.tcp, "tcp", "", "echo TCP streams on this address")
	flag.StringVar(&s.udp, "udp", "", "echo UDP packets on this address")
	flag.StringVar(&s.name, "name", host, "what / answers")
	flag.DurationVar(&s.delay, "delay", 0, "answer HTTP requests this late")
	flag.DurationVar(&s.sickFor, "sick-for", 0, "answer 503 on /healthz for this long after the start")
	flag.DurationVar(&s.crashAfter, "crash-after", 0, "exit with code 3 after this long")
	flag.BoolVar(&s.ignoreTerm, "ignore-term", false, "ignore SIGTERM and SIGINT")
	flag.BoolVar(&s.lifeline, "lifeline", false, "exit when stdin ends, so that a killed test leaves nothing")
	flag.StringVar(&s.check, "check", "", "ask this URL once and exit 0 when it answers 200: a container's health check")
	flag.Parse()
	return s
}

func check(url string) error {
	client := http.Client{Timeout: 2 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return fmt.Errorf("asking for the health: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking for the health: %s", response.Status)
	}
	return nil
}

// serve returns when it is told to stop, or when a listener fails. Without a
// listener it only waits, as a worker would.
func serve(s settings) error {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	if s.ignoreTerm {
		signal.Ignore(syscall.SIGTERM, os.Interrupt)
		stop = context.Background()
	}
	failed := make(chan error, 4)
	for _, listen := range []func(settings, chan<- error) error{listenHTTP, listenTCP, listenUDP} {
		if err := listen(s, failed); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	if s.lifeline {
		go func() {
			_, err := io.Copy(io.Discard, os.Stdin)
			failed <- err
		}()
	}
	var crash <-chan time.Time
	if s.crashAfter > 0 {
		crash = time.After(s.crashAfter)
	}
	select {
	case <-stop.Done():
		return nil
	case err := <-failed:
		return err
	case <-crash:
		os.Exit(3)
		return nil
	}
}

func announce(kind string, addr net.Addr) { fmt.Println("listening", kind, addr) }

func listenHTTP(s settings, failed chan<- error) error {
	if s.http == "" {
		return nil
	}
	listener, err := net.Listen("tcp", s.http)
	if err != nil {
		return fmt.Errorf("serving HTTP: %w", err)
	}
	announce("http", listener.Addr())
	born := time.Now()
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if time.Since(born) < s.sickFor {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(s.delay):
			fmt.Fprintln(w, s.name)
		case <-r.Context().Done():
		}
	})
	go func() { failed <- http.Serve(listener, mux) }()
	return nil
}

func listenTCP(s settings, failed chan<- error) error {
	if s.tcp == "" {
		return nil
	}
	listener, err := net.Listen("tcp", s.tcp)
	if err != nil {
		return fmt.Errorf("echoing TCP: %w", err)
	}
	announce("tcp", listener.Addr())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				failed <- fmt.Errorf("echoing TCP: %w", err)
				return
			}
			go echo(conn)
		}
	}()
	return nil
}

// echo gives back what it reads until the client has said all; a client that
// goes away early has lost interest, which is no fault of the server.
func echo(conn net.Conn) {
	defer conn.Close()
	if _, err := io.Copy(conn, conn); err != nil && !errors.Is(err, net.ErrClosed) {
		log.Printf("echoing to %s: %v", conn.RemoteAddr(), err)
	}
}

func listenUDP(s settings, failed chan<- error) error {
	if s.udp == "" {
		return nil
	}
	conn, err := net.ListenPacket("udp", s.udp)
	if err != nil {
		return fmt.Errorf("echoing UDP: %w", err)
	}
	announce("udp", conn.LocalAddr())
	go func() {
		packet := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFrom(packet)
			if err == nil {
				_, err = conn.WriteTo(packet[:n], from)
			}
			if err != nil {
				failed <- fmt.Errorf("echoing UDP: %w", err)
				return
			}
		}
	}()
	return nil
}
