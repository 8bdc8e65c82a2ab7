/* A journal for Mosquitto 2.0: a controller's message is written to a file before it is acknowledged.
 *
 * Mosquitto acknowledges what it holds in memory, and saves that to mosquitto.db now and then. Killed, it forgets what
 * came since the last save. This plugin appends each message of QoS 1 or 2 to a file before Mosquitto stores it, and
 * publishes what the file holds anew after the next start. A message that is in the file and in mosquitto.db as well is
 * given to the bridge twice, which is harmless.
 *
 * Why the file can be emptied after a save: Mosquitto has one thread, in which it saves and calls us. If mosquitto.db is
 * another file than at our last call, then a whole save lies between the two calls, and all that we had written before
 * was in Mosquitto's queue by then.
 *
 * Why we watch the bridge: Mosquitto gives a message to nobody, and forgets it, when it does not know the bridge's
 * session: before the bridge first subscribed, and after a kill before that was saved. So the file is kept until we saw
 * that the session exists, and is published anew when the bridge subscribes to a Mosquitto that did not know it.
 *
 * Options, at the controllers' listener: file, database (mosquitto.db), limit (bytes of the file), sync_ms, and a topic
 * for each filter of what is kept; at the bridge's listener, which comes first: bridge (its client id). They are a
 * listener's because of per_listener_settings; with that Mosquitto 2.0.11 never calls a plugin's tick.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#define MOST_TOPICS 8

/* What stands before each message's topic and payload; the checksum covers all that follows it. */
struct header {
    uint32_t checksum;
    uint32_t payload_size;
    uint32_t topic_size; /* with the NUL at its end */
    uint16_t qos;
    uint16_t retain;
};

static const char *bridge;            /* its client id */
static const char *file, *database;
static const char *topics[MOST_TOPICS];
static off_t limit;
static long sync_ms;

static int journal = -1;
static off_t size;                    /* of the whole records in the journal */
static int store = -1;                /* mosquitto.db, as it was when we last looked; open, so we see that it went */
static bool known;                    /* the bridge's session exists, so a message is queued for it */
static bool late;                     /* what was published anew may not be in the queue yet at the next save */
static bool refusing;

static pthread_t syncer;
static atomic_bool dirty, ending, broken;

static uint32_t checksum_of(const struct header *header, const char *topic, const void *payload)
{
    uLong sum = crc32(0, (const Bytef *)header + sizeof header->checksum, sizeof *header - sizeof header->checksum);
    sum = crc32(sum, (const Bytef *)topic, header->topic_size);
    return header->payload_size ? (uint32_t)crc32(sum, payload, header->payload_size) : (uint32_t)sum;
}

/* Gives a message to the broker, which queues it in its next turn and frees the copy. */
static bool publish(const struct header *header, const char *topic, const char *payload)
{
    char *copy = header->payload_size ? mosquitto_malloc(header->payload_size) : NULL;
    if (header->payload_size && !copy) return false;
    if (copy) memcpy(copy, payload, header->payload_size);
    bool taken = mosquitto_broker_publish(NULL, topic, (int)header->payload_size, copy, header->qos, header->retain,
                                          NULL) == MOSQ_ERR_SUCCESS;
    if (!taken) mosquitto_free(copy);
    return taken;
}

/* Publishes every whole record of the first `end` bytes anew; where the last of them ends, or -1 with errno. */
static off_t publish_all(off_t end)
{
    unsigned count = 0;
    off_t at = 0;
    if (end == 0) return 0;
    char *start = mmap(NULL, (size_t)end, PROT_READ, MAP_PRIVATE, journal, 0);
    if (start == MAP_FAILED) return -1;
    while (end - at >= (off_t)sizeof(struct header)) {
        struct header header;
        memcpy(&header, start + at, sizeof header);
        const char *topic = start + at + sizeof header, *payload = topic + header.topic_size;
        off_t next = at + (off_t)sizeof header + header.topic_size + (off_t)header.payload_size;
        if (next > end || header.checksum != checksum_of(&header, topic, payload)) break;
        if (!publish(&header, topic, payload)) {
            munmap(start, (size_t)end);
            errno = ENOMEM;
            return -1;
        }
        count++;
        at = next;
    }
    munmap(start, (size_t)end);
    if (count) mosquitto_log_printf(MOSQ_LOG_NOTICE, "Journal: %u messages are published anew.", count);
    return at;
}

static bool sync_folder(void)
{
    char *path = strdup(file), *slash = path ? strrchr(path, '/') : NULL;
    if (slash) slash[1] = '\0';
    int folder = slash ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool done = folder >= 0 && fsync(folder) == 0;
    if (folder >= 0) close(folder);
    free(path);
    return done;
}

/* Whether Mosquitto has saved its queue since we last looked: it moves a new file over the one that we hold open. */
static bool has_saved(void)
{
    struct stat held;
    if (store >= 0 && fstat(store, &held) == 0 && held.st_nlink > 0) return false;
    int next = open(database, O_RDONLY | O_CLOEXEC);
    if (next < 0) return false; /* no save yet */
    if (store >= 0) close(store);
    store = next;
    return true;
}

static void drop_what_is_saved(void)
{
    if (!has_saved()) return;
    bool covered = known && !late;
    late = false;
    /* The new mosquitto.db must stand in its folder before the journal goes. */
    if (covered && size && sync_folder() && ftruncate(journal, 0) == 0) size = 0;
}

/* The client is disconnected without an acknowledgement, and sends the message again when it is back. */
static int refuse(const char *why)
{
    if (!refusing) mosquitto_log_printf(MOSQ_LOG_ERR, "Error: Journal %s: %s. Messages are refused.", file, why);
    refusing = true;
    return MOSQ_ERR_UNKNOWN;
}

static bool wanted(const char *topic)
{
    bool match = false;
    for (int i = 0; i < MOST_TOPICS && topics[i] && !match; i++) mosquitto_topic_matches_sub(topics[i], topic, &match);
    return match;
}

static int on_message(int event, void *data, void *userdata)
{
    (void)event, (void)userdata;
    const struct mosquitto_evt_message *message = data;
    if (message->qos == 0 || !wanted(message->topic)) return MOSQ_ERR_SUCCESS;
    drop_what_is_saved();

    struct header header = {.payload_size = message->payloadlen,
                            .topic_size = (uint32_t)strlen(message->topic) + 1,
                            .qos = message->qos, .retain = message->retain};
    header.checksum = checksum_of(&header, message->topic, message->payload);
    struct iovec parts[] = {{&header, sizeof header}, {message->topic, header.topic_size},
                            {message->payload, header.payload_size}};
    ssize_t length = (ssize_t)(sizeof header + header.topic_size + header.payload_size);
    if (broken) return refuse("it can not be brought to the disk, start Mosquitto anew");
    if (size + length > limit) return refuse(known ? "full, and Mosquitto's queue is not saved"
                                                   : "full, and the bridge has not subscribed");
    ssize_t written = pwritev2(journal, parts, 3, size, sync_ms ? 0 : RWF_DSYNC);
    if (written != length) {
        const char *why = written < 0 ? strerror(errno) : "no room";
        if (ftruncate(journal, size) != 0) mosquitto_log_printf(MOSQ_LOG_WARNING, "Journal: half a record stays.");
        return refuse(why);
    }
    size += length;
    dirty = true;
    if (refusing) mosquitto_log_printf(MOSQ_LOG_NOTICE, "Journal %s: messages are taken again.", file);
    refusing = false;
    return MOSQ_ERR_SUCCESS;
}

/* Decides nothing: the ACL file does. It tells us of the bridge. */
static int on_access(int event, void *data, void *userdata)
{
    (void)event, (void)userdata;
    const struct mosquitto_evt_acl_check *check = data;
    const char *client = mosquitto_client_id(check->client);
    if (known || journal < 0 || !client || strcmp(client, bridge) != 0) return MOSQ_ERR_PLUGIN_DEFER;
    if (check->access == MOSQ_ACL_READ) { /* a message is about to be queued for it */
        known = true;
    } else if (check->access == MOSQ_ACL_SUBSCRIBE) {
        drop_what_is_saved(); /* only looks, as the session was not known */
        known = late = true;
        if (publish_all(size) < 0) {
            known = false;
            mosquitto_log_printf(MOSQ_LOG_ERR, "Error: Journal %s can not be read: %s.", file, strerror(errno));
        }
    }
    return MOSQ_ERR_PLUGIN_DEFER;
}

/* A power cut takes at most the last sync_ms of messages. */
static void *sync_now_and_then(void *unused)
{
    (void)unused;
    while (!ending) {
        usleep((useconds_t)sync_ms * 1000);
        if (atomic_exchange(&dirty, false) && fdatasync(journal) != 0) broken = true;
    }
    return NULL;
}

/* Mosquitto's signals are for its own thread. */
static bool start_syncer(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&syncer, NULL, sync_now_and_then, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !failed;
}

static bool open_journal(void)
{
    struct stat found;
    journal = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (journal < 0 || fstat(journal, &found) != 0 || !sync_folder()) return false;
    if (!has_saved() && errno != ENOENT) return false;
    size = publish_all(found.st_size); /* queued before Mosquitto can save */
    if (size < 0) return false;
    if (size < found.st_size)
        mosquitto_log_printf(MOSQ_LOG_WARNING, "Journal: %lld bytes at its end are not whole and are ignored.",
                             (long long)(found.st_size - size));
    return ftruncate(journal, size) == 0 && (!sync_ms || start_syncer());
}

static bool read_options(struct mosquitto_opt *options, int count)
{
    int topic = 0;
    for (int i = 0; i < count; i++) {
        const char *key = options[i].key, *value = options[i].value;
        if (!strcmp(key, "bridge")) bridge = value;
        else if (!strcmp(key, "file")) file = value;
        else if (!strcmp(key, "database")) database = value;
        else if (!strcmp(key, "limit")) limit = atoll(value);
        else if (!strcmp(key, "sync_ms")) sync_ms = atol(value);
        else if (!strcmp(key, "topic") && topic < MOST_TOPICS) topics[topic++] = value;
        else return false;
    }
    return bridge && (!file || (database && topics[0] && limit > 0 && sync_ms >= 0 && sync_ms < 1000000));
}

int mosquitto_plugin_version(int count, const int *versions)
{
    for (int i = 0; i < count; i++)
        if (versions[i] == MOSQ_PLUGIN_VERSION) return MOSQ_PLUGIN_VERSION;
    return -1;
}

/* Once for each of the two listeners. */
int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **userdata, struct mosquitto_opt *options, int count)
{
    (void)userdata;
    if (!read_options(options, count)) {
        mosquitto_log_printf(MOSQ_LOG_ERR, "Error: Journal: an option is missing, wrong or unknown.");
        return MOSQ_ERR_INVAL;
    }
    if (!file) return mosquitto_callback_register(id, MOSQ_EVT_ACL_CHECK, on_access, NULL, NULL);
    if (!open_journal()) {
        mosquitto_log_printf(MOSQ_LOG_ERR, "Error: Journal %s can not be used: %s.", file, strerror(errno));
        return MOSQ_ERR_ERRNO;
    }
    return mosquitto_callback_register(id, MOSQ_EVT_MESSAGE, on_message, NULL, NULL);
}

/* For each listener, too; Mosquitto has saved its queue by now. */
int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
    (void)userdata, (void)options, (void)count;
    if (journal < 0) return MOSQ_ERR_SUCCESS;
    ending = true;
    if (sync_ms) pthread_join(syncer, NULL);
    drop_what_is_saved();
    if (store >= 0) close(store);
    close(journal);
    journal = store = -1;
    return MOSQ_ERR_SUCCESS;
}
