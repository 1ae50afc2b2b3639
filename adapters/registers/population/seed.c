/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Invented people: common names put together by a seeded generator. */
#include "adapters/registers/population/people_priv.h"
#include "adapters/registers/population/pin.h"
#include <stdio.h>

/* With the ending of a man's; a woman's has one more "a". */
static const char *const surnames[] = {"Məmmədov", "Əliyev", "Həsənov", "Hüseynov", "Quliyev", "İsmayılov", "Abbasov", "Rəhimov", "Kərimov", "Cəfərov", "Vəliyev", "Mustafayev",
    "Babayev", "Nəsirov", "Süleymanov", "Qasımov", "Sadıqov", "Şıxəliyev", "Çobanov", "Ağayev", "Bağırov", "Orucov", "Ömərov", "Ülviyev", "Işıqov", "Zeynalov", "Yusifov", "Xəlilov",
    "Tağıyev", "Rzayev", "Paşayev", "Novruzov", "Məhərrəmov", "Lətifov", "Kazımov", "İbrahimov", "Hacıyev", "Fətullayev", "Eyvazov", "Dadaşov"};
static const char *const men[] = {"Elçin", "Rəşad", "Tural", "Əli", "Murad", "Orxan", "Vüqar", "İlqar", "Ramin", "Samir", "Emin", "Fərid", "Kamran", "Nicat", "Pərviz", "Şahin", "Anar",
    "Cavid", "Elnur", "Həsən", "Hüseyn", "Məhəmməd", "Namiq", "Rövşən", "Tofiq", "Yaşar", "Zaur", "Aqil", "Bəxtiyar", "Çingiz", "Ceyhun", "İsa", "Oqtay", "Uğur"};
static const char *const women[] = {"Aygün", "Leyla", "Günel", "Nigar", "Sevinc", "Aynur", "Fidan", "Gülnarə", "Könül", "Lalə", "Mehriban", "Nərgiz", "Pərvanə", "Röya", "Səbinə", "Şəbnəm",
    "Təranə", "Ülviyyə", "Vəfa", "Zəhra", "Ayşən", "Cəmilə", "Çinarə", "Dilarə", "Elmira", "Fatimə", "Həcər", "İradə", "Jalə", "Xədicə", "Yeganə", "İnci", "Mələk", "Sona"};
static const struct { const char *region, *city; } places[] = {{"Bakı", "Nəsimi"}, {"Bakı", "Yasamal"}, {"Bakı", "Sabunçu"}, {"Bakı", "Binəqədi"}, {"Abşeron", "Xırdalan"},
    {"Gəncə-Daşkəsən", "Gəncə"}, {"Şəki-Zaqatala", "Şəki"}, {"Şəki-Zaqatala", "Zaqatala"}, {"Lənkəran-Astara", "Lənkəran"}, {"Quba-Xaçmaz", "Quba"}, {"Mərkəzi Aran", "Mingəçevir"},
    {"Mil-Muğan", "İmişli"}, {"Şirvan-Salyan", "Şirvan"}, {"Naxçıvan", "Naxçıvan"}, {"Qarabağ", "Şuşa"}, {"Qazax-Tovuz", "Tovuz"}};
static const char *const streets[] = {"Nizami küçəsi", "Üzeyir Hacıbəyov küçəsi", "Füzuli küçəsi", "İstiqlaliyyət küçəsi", "Ağa Neymətulla küçəsi", "Şəhidlər xiyabanı", "Çiçək küçəsi", "Xətai prospekti",
    "Azadlıq prospekti", "Gənclik meydanı"};
static const char *const others[] = {"TUR", "GEO", "RUS", "UKR", "KAZ"};
#define PICK(list) (list)[next(state) % (sizeof(list) / sizeof *(list))]

/* splitmix64: the same people on every machine. */
static uint64_t next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static ehis_err add_person(struct people *p, uint64_t *state)
{
    char pin[PIN_CHARS + 1], surname[PEOPLE_NAME_BYTES + 1], key[PEOPLE_NAME_BYTES + 1], patronymic[PEOPLE_NAME_BYTES + 1], birth[11], street[129];
    bool is_man = next(state) & 1;
    const char *given = is_man ? PICK(men) : PICK(women), *citizenship = next(state) % 50 ? "AZE" : PICK(others);
    size_t place = next(state) % (sizeof places / sizeof *places);
    snprintf(surname, sizeof surname, "%s%s", PICK(surnames), is_man ? "" : "a");
    snprintf(patronymic, sizeof patronymic, "%s %s", PICK(men), is_man ? "oğlu" : "qızı");
    unsigned year = 1935 + (unsigned)(next(state) % 90), month = 1 + (unsigned)(next(state) % 12), day = 1 + (unsigned)(next(state) % 28);
    snprintf(birth, sizeof birth, "%04u-%02u-%02u", year % 10000, month % 100, day % 100);
    const char *road = PICK(streets);
    unsigned house = 1 + (unsigned)(next(state) % 180), flat = 1 + (unsigned)(next(state) % 90);
    snprintf(street, sizeof street, "%s, ev %u, mənzil %u", road, house, flat);
    people_fold(surname, key);
    for (;;) { /* 34^6 numbers for at most PEOPLE_MAX people */
        pin_from_number(next(state) % UINT64_C(1544804416), pin);
        ehis_err err = people_run(p, Q_ADD_PERSON, "sssssisssss", pin, surname, key, given, patronymic, (int64_t)(is_man ? 2 : 1), birth, citizenship, places[place].region,
                                  places[place].city, street);
        if (err != EHIS_E_EXISTS)
            return err;
    }
}

static ehis_err seed_all(struct people *p, uint64_t count, uint64_t state)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        EHIS_TRY(people_run(p, Q_ADD_PLACE, "ss", places[i].region, places[i].city));
    for (uint64_t i = 0; i < count; i++)
        EHIS_TRY(add_person(p, &state));
    return EHIS_OK;
}

ehis_err people_seed(struct people *p, uint64_t count, uint64_t seed, struct ehis_why *why)
{
    int step;
    int64_t present = 0;
    ehis_err err = people_run(p, Q_BEGIN, "");
    if (err != EHIS_OK)
        return people_fail(p, err, why);
    err = people_query(p, Q_COUNT, &step, "");
    if (err == EHIS_OK)
        present = sqlite3_column_int64(p->queries[Q_COUNT], 0);
    people_end(p, Q_COUNT);
    if (err == EHIS_OK && present)
        return people_finish(p, ehis_fail(why, EHIS_E_EXISTS, "%lld people are in it already", (long long)present));
    err = people_finish(p, err == EHIS_OK ? seed_all(p, count, seed) : err);
    return err == EHIS_OK ? EHIS_OK : people_fail(p, err, why);
}
