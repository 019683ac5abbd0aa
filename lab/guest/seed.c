/* Tells the kernel that its random numbers are good now (random(4), RNDADDENTROPY).
 *
 * An emulated processor needs seconds to gather enough noise for them, and SSH waits for it. What is credited here
 * is only what the kernel mixed already (clock, addresses, the guest's UUID): enough to keep guests apart, not
 * enough to keep a secret. This guest has none.
 */
#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

int main(void)
{
    struct { int bits, size; unsigned char pool[32]; } seed = { 256, sizeof seed.pool, { 0 } };
    int into = open("/dev/random", O_WRONLY);

    /* Not from /dev/urandom: reading that would start the long gathering. */
    if (getrandom(seed.pool, sizeof seed.pool, GRND_INSECURE) != (ssize_t)sizeof seed.pool)
        return 1;
    return ioctl(into, RNDADDENTROPY, &seed) != 0;
}
