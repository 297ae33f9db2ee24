/* Holds a pod's namespaces open: reaps its orphans, ends when told to. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(int number) {
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

static void end(int number) {
    (void)number;
    _exit(0);
}

int main(void) {
    struct sigaction reaper = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
    struct sigaction ender = {.sa_handler = end};
    sigaction(SIGCHLD, &reaper, NULL);
    sigaction(SIGTERM, &ender, NULL);
    sigaction(SIGINT, &ender, NULL);
    for (;;) {
        pause();
    }
}
