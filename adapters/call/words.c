/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Errors that an agency's people meet, in Azerbaijani. UTF-8 as it stands; the locale is not asked. */
#include "adapters/call/call.h"
#include <stdlib.h>

static const struct { ehis_err err; const char *text, *hint; } az[] = {
    {EHIS_E_USAGE, "əmrin sözləri yanlışdır", "--help göstərir"},
    {EHIS_E_IO, "oxuma və ya yazma alınmadı", "qurğunun sistem jurnalına baxın"},
    {EHIS_E_NOT_FOUND, "belə bir şey yoxdur", ""},
    {EHIS_E_LOCKED, "onu başqa proses tutub", "hər prosesin öz vəziyyət qovluğu olmalıdır (--state)"},
    {EHIS_E_TIMEOUT, "vaxt bitdi", "--timeout ilə daha çox vaxt verin"},
    {EHIS_E_SETTINGS, "parametrlər faylı yanlışdır", ""},
    {EHIS_E_LINK_RESET, "şlüzlə əlaqə qurulmadı", "şlüz işləyirmi və buradan əlçatandırmı?"},
    {EHIS_E_LINK_TLS, "TLS əlaqəsi alınmadı", "sertifikatı və vaxtı yoxlayın"},
    {EHIS_E_LINK_TIMEOUT, "şlüz vaxtında cavab vermədi", ""},
    {EHIS_E_CERT_EXPIRED, "sertifikatın müddəti bitib", "səlahiyyətli orqandan yenisini alın; bu maşının saatını yoxlayın"},
    {EHIS_E_CERT_REVOKED, "sertifikat ləğv edilib", "səbəbini öyrənin, sonra yeni açarlarla yenisini alın"},
    {EHIS_E_CRL_EXPIRED, "ləğv siyahısı köhnəlib", "yenisini alın; bu maşının saatını yoxlayın"},
    {EHIS_E_REGISTRY_EXPIRED, "reyestr sənədinin müddəti bitib", "operator yenisini imzalamalıdır"},
    {EHIS_E_KEY_UNKNOWN, "açar reyestrdə yoxdur", "açarın qoşulma sorğusu əlavə olunub və reyestr dərc edilibmi?"},
    {EHIS_E_KEY_REVOKED, "açar ləğv edilib", "yenisini yaradın və operatordan əlavə etməsini xahiş edin"},
    {EHIS_E_POLICY_NO_RULE, "buna heç bir qayda icazə vermir", "xidmət sahibindən icazə istəyin"},
    {EHIS_E_POLICY_CONSUMER, "qayda başqa sistemlər üçündür", "xidmət sahibindən icazə istəyin"},
    {EHIS_E_POLICY_OPERATION, "qayda bu əməliyyatı əhatə etmir", "xidmət sahibindən əməliyyatı əlavə etməsini xahiş edin"},
    {EHIS_E_POLICY_PURPOSE, "qayda bu məqsədi əhatə etmir", "təsdiq olunmuş məqsədi göstərin"},
    {EHIS_E_POLICY_LEGAL_BASIS, "qayda bu hüquqi əsası əhatə etmir", "təsdiq olunmuş hüquqi əsası reyestrdəki kimi yazın"},
    {EHIS_E_POLICY_NOT_YET_VALID, "qayda hələ qüvvədə deyil", ""},
    {EHIS_E_POLICY_NO_LONGER_VALID, "qayda artıq qüvvədə deyil", "xidmət sahibindən icazəni yeniləməsini xahiş edin"},
    {EHIS_E_POLICY_FORBIDDEN, "bunu bir qayda qadağan edir", "qadağa hər icazədən üstündür"},
    {EHIS_E_POLICY_UNKNOWN_SERVICE, "belə xidmət reyestrdə yoxdur", "yazılışı yoxlayın"},
    {EHIS_E_POLICY_UNKNOWN_OPERATION, "xidmətin belə əməliyyatı və ya hadisəsi yoxdur", ""},
    {EHIS_E_EXCHANGE_BUSY, "hazırda yer yoxdur", "bir azdan yenidən cəhd edin"},
    {EHIS_E_EXCHANGE_EXPIRED, "mesajın müddəti bitib", "daha uzun müddətlə yenisini göndərin"},
    {EHIS_E_EXCHANGE_NO_SESSION, "alıcı qoşulmayıb", "sonra cəhd edin və ya --send ilə göndərin: onda gözləyəcək"},
    {EHIS_E_EXCHANGE_PROVIDER_GONE, "xidmət sahibi cavab vermədən ayrıldı", "işin görülüb-görülmədiyi məlum deyil"},
    {EHIS_E_SDK_MESSAGE, "mesajda bir sahə çatışmır və ya çox uzundur", ""},
    {EHIS_E_SDK_NOT_READY, "şlüzlə hazır əlaqə yoxdur", ""},
    {EHIS_E_SDK_NO_HANDLER, "alıcıda bunu görən hissə işləmir", "onun operatoru xidməti işə salmalıdır"},
};

bool words_is_az(const struct cli *c)
{
    const char *lang = cli_get(c, "lang");
    if (!lang)
        lang = getenv("EHIS_LANG");
    return lang && strcmp(lang, "az") == 0;
}

bool words_translate(const struct cli *c, ehis_err err, struct cli_words *out)
{
    for (size_t i = 0; words_is_az(c) && i < sizeof az / sizeof *az; i++)
        if (az[i].err == err) {
            *out = (struct cli_words){az[i].text, az[i].hint, "məsləhət"};
            return true;
        }
    return false;
}
